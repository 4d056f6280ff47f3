"""Makes code that lies elsewhere believe, and say, that it lies in ``/var/task``.

Used where an environment has no file system of its own. Code objects get their AWS file name when
they are compiled, so stack traces are exact; ``__file__`` stays the true path, so that a module
still finds the data files beside it, and source lines are found through the loader.
"""

import importlib.machinery as machinery
import os
import sys


def install(shown: dict) -> None:
    """Load modules below each directory of *shown* under the path it maps to."""
    roots = {os.path.normcase(os.path.abspath(real)): name for real, name in shown.items()}

    def shown_path(path: str) -> str:
        for real, name in roots.items():
            if os.path.normcase(path).startswith(real + os.sep):
                return name + path[len(real) :].replace(os.sep, "/")
        return path

    class TaskLoader(machinery.SourceFileLoader):
        """A source loader that compiles under the shown name and leaves no cache files."""

        def get_code(self, fullname):
            path = self.get_filename(fullname)
            return self.source_to_code(self.get_data(path), path)

        def source_to_code(self, data, path, *, _optimize=-1):
            return compile(data, shown_path(path), "exec", dont_inherit=True, optimize=_optimize)

    loaders = [
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (TaskLoader, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    ]
    ordinary = machinery.FileFinder.path_hook(*loaders)

    def hook(path: str):
        absolute = os.path.normcase(os.path.abspath(path))
        for real in roots:
            if absolute == real or absolute.startswith(real + os.sep):
                return ordinary(path)
        raise ImportError(path)

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()
