"""What networks compute with, and what a program is traced for."""
