"""Many machines for one folder of images: parts, places, and what is done."""
