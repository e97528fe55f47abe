"Convert a dataset from one format to another."
from .formats import FORMATS, convert, detect

__all__ = ['FORMATS', 'convert', 'detect']
