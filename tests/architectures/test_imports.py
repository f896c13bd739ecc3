"""Looking at architectures must not cost an import of Keras."""

import subprocess
import sys


def test_listing_checking_and_describing_import_no_keras():
    code = (
        "import sys; from edgekd import architectures, registry\n"
        "for name in registry.discover('edgekd.architectures'):\n"
        "    architectures.check(name, {}); architectures.default_taps(name)\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
