"""nightflow: from raw frames to calibrated light curves while the night is still running."""

from nightflow.kernel_cache import use_kernel_folder

__version__ = "0.1.0"

use_kernel_folder()
