import pytest
from test_faults import *
import test_faults

@pytest.fixture(scope="module")
def marked_stores(tmp_path_factory):
    stores = {}
    store = tmp_path_factory.mktemp("marked") / "users.db"
    with MisbehavingDirectory(company(tree.Controller(True)), max_page=2, max_values=2) as server:
        Lab(server, store, None).run()
        stores[BY_NUMBER] = store, server.port
    return stores

def test_it(marked):
    lab = marked(BY_NUMBER)
    lab.run()
    for r in lab.server.received:
        print(r.scope, r.base, r.filter[:300], r.attributes)
    assert 0
