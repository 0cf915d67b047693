"""Tables: frames and files of mixed columns, from their values to rows like them.

- `table`: `Table`, a data set made of a frame, and the frame made of rows that a model draws.
- `conditional`: rows of p(x | the values of some columns), of any model of a table.
- `report`: how near drawn rows are to real ones, and whether they are copies.
"""

from kvae.utils.exports import attach_stub

# The names stand in __init__.pyi.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
