"""How long does it take from the start of a process to the first upscaled image?"""
