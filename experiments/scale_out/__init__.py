"""Does the work of many machines get done once, and how fast?"""
