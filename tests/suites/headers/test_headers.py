import pytest


@pytest.fixture
def pair(logout_make_pair):
    return logout_make_pair("ada")


def test_the_headers_contain_the_access_token(app, pair, logout_headers):
    name, prefix = app.config["EXPECTED_HEADER"]
    expected = {name: prefix + pair.access}
    assert logout_headers(pair) == logout_headers(pair.access) == expected


def test_the_app_reads_the_headers(app, pair, logout_headers, logout_log_out):
    client = app.test_client()
    responses = [client.get("/me", headers=logout_headers(token)) for token in pair]
    assert [response.status_code for response in responses] == [200, 422]
    assert logout_log_out(pair).status_code == 200
