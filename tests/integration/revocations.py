"""What tests of revocation share: folders of lists, and daemons that ask a responder."""
import contextlib
import os
import shutil

from coffre import PKI, RUN
from holders import short
from pki_servers import OWNER

REVOKED, UNKNOWN = "has been revoked", "cannot be known now" # on the wire, whatever the protocol


@contextlib.contextmanager
def folder(*crls):
    """A folder of CRLs beside the instance's own, with copies of these."""
    place = RUN / short("crls")
    place.mkdir()
    for name in crls:
        shutil.copy(PKI / "crl" / f"{name}.crl", place)
    os.chown(place, OWNER.st_uid, OWNER.st_gid)
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place)


def put(place, name, data):
    """A file of that folder, whole at once."""
    new = place.parent / f"{name}.new"
    new.write_bytes(data)
    new.chmod(0o644)
    new.rename(place / name)


def asks(url, policy="ocsp", **more):
    """Settings of a daemon that asks this responder about depositors."""
    return {"profiles__depositor__revocation": policy, "profiles__depositor__ocsp": url, "revocation__ocsp_reuse": "1s", "revocation__timeout": "2s", **more}
