import sys


def test_the_plugin_is_loaded_without_flask(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("flask_logout")
    assert "flask" not in sys.modules
