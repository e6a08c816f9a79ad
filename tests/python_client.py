"""A client in Python: `python_client.py`, against the swarm "test" with generic agents."""

import sys
import threading

import microswarm

if "without_numpy" in sys.argv:
    sys.modules["numpy"] = None


def raises(kind, function):
    try:
        function()
    except kind:
        return True
    return False


with microswarm.Client("test") as client:
    assert "echo" in client.capabilities
    assert bytes(client.run("echo", "hello")) == b"hello"
    large = bytes(range(256)) * 4096
    result = client.run("echo", memoryview(large))
    assert result.is_done and result.attempts == 1 and result.data == large
    # Arrays over a result keep its memory; without them it goes at once.
    part = result.data[256:512]
    assert raises(BufferError, result.release)
    del result
    assert bytes(part) == bytes(range(256))
    del part

    first = client.submit_many("echo", [b"x" * i for i in range(100)])
    got = {}
    while len(got) < 100:
        result = client.next_result(20)
        got[result.number - first] = bytes(result)
    assert got == {i: b"x" * i for i in range(100)}
    assert client.in_flight == 0 and client.next_result(0) is None

    failed = client.run("fail", "as told")
    assert not failed.is_done and failed.state == "failed" and failed.text == "as told"
    assert raises(LookupError, lambda: client.submit("nobody.does.this"))
    assert raises(ValueError, lambda: client.submit("echo", b"", priority="urgent"))
    assert raises(TypeError, lambda: client.submit("echo", 3.5))
    assert raises(MemoryError, lambda: client.submit("echo", bytes(1 << 30)))

    # The GIL is let go while a thread waits; a second one in the same client is told.
    waiting = threading.Thread(target=lambda: client.next_result(2))
    waiting.start()
    told = False
    while waiting.is_alive() and not told:
        told = raises(RuntimeError, lambda: client.next_result(0))
    assert told
    waiting.join()
    last = client.run("echo", b"l" * 1000)

# What outlives the client is whole.
assert bytes(last) == b"l" * 1000
assert raises(ValueError, lambda: client.submit("echo"))
assert raises(ConnectionError, lambda: microswarm.Client("no-such-swarm"))
print("all well")
