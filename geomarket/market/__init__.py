"""The tables a plan needs: settings, reading, checking, quarantine, the Market."""

import lazy_loader as _lazy

# As in the package itself: who only adds up a table does not wait for what reads and checks them. The names are in the
# .pyi beside this file, so that type checkers see them too.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
