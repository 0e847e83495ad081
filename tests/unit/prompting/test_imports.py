from __future__ import annotations

import subprocess
import sys


def test_prompting_loads_nothing_but_numpy() -> None:
    code = (
        "import sys, commonscale.prompting; "
        "loaded = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names); "
        "print(sorted(name for name in loaded if not name.startswith('_')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['commonscale', 'numpy']"
