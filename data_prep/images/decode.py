"""The bytes of a file -> pixels of one size, or the reason why not."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from primus_jax.data.images import HEIGHT, WIDTH

# One value of a 16 bit picture is 257 of an 8 bit one.
SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B")


def decode(data: bytes) -> np.ndarray | str:
    """Return uint8 `[96, 128, 3]`, red, green and blue; or in words why the file was left out.

    The whole picture is resized, whatever its shape, as IMG2IMU does. Transparent parts lie on
    black. Of an animation the first frame counts. Pillow reads palettes and CMYK.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures that unpack to very many pixels, and raises at twice that.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as opened:
                return _pixels(opened)
    except Image.UnidentifiedImageError:
        return "not a picture"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return "pictures too large to unpack"
    except Exception:
        # Whatever a damaged file makes of a decoder.
        return "damaged pictures"


def _pixels(picture: Image.Image) -> np.ndarray:
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in SIXTEEN_BIT:
        values = np.clip(np.asarray(upright, np.float64) / 257, 0, 255)
        upright = Image.fromarray(np.rint(values).astype(np.uint8))
    elif upright.mode == "F":
        values = np.asarray(upright, np.float64)
        if not np.isfinite(values).all():
            raise ValueError("values that are not finite")
        span = values.max() - values.min()
        values = (values - values.min()) * (255 / span if span else 0)
        upright = Image.fromarray(np.rint(values).astype(np.uint8))
    if upright.has_transparency_data:
        whole = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", whole.size, (0, 0, 0, 255)), whole)
    resized = upright.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.uint8)
