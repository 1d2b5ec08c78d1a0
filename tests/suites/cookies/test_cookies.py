def test_the_client_of_pytest_flask_keeps_its_cookies(
    client, logout_make_pair, logout_log_out
):
    ada, bob = logout_make_pair("ada"), logout_make_pair("bob")
    client.set_cookie("access_token_cookie", ada.access)
    assert logout_log_out(bob).status_code == 200
    assert client.get("/me").json == {"identity": "ada"}
