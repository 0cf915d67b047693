from .conditional import Conditional as Conditional
from .conditional import given as given
from .report import report as report
from .table import Table as Table
from .table import frame as frame
