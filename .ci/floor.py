"""Print the lowest allowed version of every dependency, as constraints for pip."""

import re
from pathlib import Path

text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
text = text.partition("[project.scripts]")[0].partition("\ndependencies")[2]
floors = re.findall(r'"([\w-]+)(?:\[[\w,]*\])?>=([\d.]+)', text)
print("\n".join(sorted({f"{name}=={version}" for name, version in floors})))
