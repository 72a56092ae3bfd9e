import msgspec

from kvorum.v2.stats import StoreStats


def test_json_has_the_contracts_names_in_its_order() -> None:
    assert msgspec.json.encode(StoreStats(gets_success=428, expire_count=5)) == (
        b'{"getsSuccess":428,"getsFail":0,"setsSuccess":0,"setsFail":0,"deleteSuccess":0,'
        b'"deleteFail":0,"updateSuccess":0,"updateFail":0,"createSuccess":0,"createFail":0,'
        b'"compareAndSwapSuccess":0,"compareAndSwapFail":0,"compareAndDeleteSuccess":0,'
        b'"compareAndDeleteFail":0,"expireCount":5,"watchers":0}'
    )
