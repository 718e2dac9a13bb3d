"""ICC colour profiles: which fit an image, and CMYK to sRGB by them.

The layout of a profile's header is that of the ICC specification (ICC.1:2022, section 7.2).
"""

import io

from PIL import Image, ImageCms

# Number of channels -> the data colour space that the header of a fitting profile names.
_SPACES = {1: b"GRAY", 2: b"GRAY", 3: b"RGB ", 4: b"RGB "}


def fits(profile: bytes, channels: int) -> bool:
    """Whether a profile describes images of so many channels (1 grey, 2 + alpha, 3 RGB, 4 RGBA).

    >>> fits(b"not a profile", 3)
    False
    """
    is_profile = len(profile) >= 132 and profile[36:40] == b"acsp"
    return is_profile and profile[16:20] == _SPACES[channels]


def cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A CMYK picture in sRGB: by its profile, relative colorimetric.

    Without a profile, or with one that is broken or of another colour space, each of red, green
    and blue is what ink and black leave: (255 - C) (255 - K) / 255.

    Args:
        image: of Pillow's mode CMYK, 255 is full ink.
        profile: the ICC profile that the file embeds, or None.

    Returns:
        An image of mode RGB and the same size.
    """
    if profile is not None:
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):  # an unusable profile is as good as none
            pass
    return image.convert("RGB")
