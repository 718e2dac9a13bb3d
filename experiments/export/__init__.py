"""Do exports give what the networks give, and how fast are they?"""
