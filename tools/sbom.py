#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sbom.py VERSION CREATED ROOT - bill of materials of an image (SPDX 2.3, JSON), made of ROOT/var/lib/dpkg/status.d
and of our own programs."""
import hashlib
import json
import os
import re
import sys

version, created, root = sys.argv[1:4]


def fields(path):
    """Of a record of dpkg's status: what stands in one line each."""
    with open(path, encoding="utf-8") as f:
        return dict(re.findall(r"^([A-Za-z-]+): (.*)$", f.read(), re.M))


def package(ref, name, ver, license_, purl, supplier, **more):
    return {"SPDXID": ref, "name": name, "versionInfo": ver, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "supplier": supplier, "licenseConcluded": license_, "licenseDeclared": license_,
            "copyrightText": "NOASSERTION", **more,
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                              "referenceLocator": purl}]}


packages, relations = [], []
digests = []
for program in ("usr/sbin/waymarkd", "usr/bin/waymarkctl"):
    with open(os.path.join(root, program), "rb") as f:
        digests.append(f"{program}: sha256 {hashlib.sha256(f.read()).hexdigest()}")
packages.append(package("SPDXRef-waymark", "waymark", version, "Apache-2.0", f"pkg:generic/waymark@{version}",
                        "NOASSERTION", comment="; ".join(digests)))
release = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)', open(os.path.join(root, "etc/os-release"), encoding="utf-8").read(), re.M))
status = os.path.join(root, "var/lib/dpkg/status.d")
for name in sorted(os.listdir(status)):
    f = fields(os.path.join(status, name))
    ref = "SPDXRef-deb-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)
    source = f.get("Source", name)
    packages.append(package(
        ref, name, f["Version"], "NOASSERTION",
        f"pkg:deb/{release['ID']}/{name.replace('+', '%2B')}@{f['Version'].replace('+', '%2B')}"
        f"?arch={f['Architecture']}&distro={release['ID']}-{release.get('VERSION_ID', '')}",
        "Organization: Debian", sourceInfo=f"built from the source package {source}",
        licenseComments=f"as in /usr/share/doc/{name}/copyright of the image"))
    relations.append({"spdxElementId": "SPDXRef-waymark", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": ref})
# the same packages and programs have the same name
name_space = hashlib.sha256(json.dumps(packages, sort_keys=True).encode()).hexdigest()
json.dump({"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
           "name": f"waymark-{version}", "documentNamespace": f"https://waymark.invalid/spdx/{name_space}",
           "creationInfo": {"created": created, "creators": ["Tool: waymark-make-image"]},
           "documentDescribes": ["SPDXRef-waymark"], "packages": packages,
           "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                              "relatedSpdxElement": "SPDXRef-waymark"}] + relations}, sys.stdout, indent=1)
print()
