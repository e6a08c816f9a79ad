"""An agent in Python that does what it is told. "run": handlers, "poll": a loop of its own."""

import gc
import select
import sys

if "without_numpy" in sys.argv:
    sys.modules["numpy"] = None  # any import of it fails
try:
    import numpy
except ImportError:
    numpy = None

import microswarm

agent = microswarm.Agent()
kept = []


@agent.on("py.echo")
def echo(task):
    return task.payload


@agent.on("py.upper")
def upper(task):
    return task.text.upper()


@agent.on("py.nothing")
def nothing(task):
    pass


@agent.on("py.in_place")
def in_place(task):
    out = task.result(len(task.payload))
    out[:] = task.payload


@agent.on("py.double")
def double(task):
    values = numpy.frombuffer(task.payload, dtype=numpy.float32)
    out = numpy.frombuffer(task.result(values.nbytes), dtype=numpy.float32)
    numpy.multiply(values, 2, out=out)
    return out


@agent.on("py.no_numpy")
def no_numpy(task):
    assert numpy is None
    return bytes(2 * x for x in task.payload)


@agent.on("py.who")
def who(task):
    return f"{task.capability}: agent {agent.id}.{agent.incarnation}, attempt {task.attempt}"


@agent.on("py.throws")
def throws(task):
    raise KeyError("no such thing")


@agent.on("py.odd")
def odd(task):
    return 3.5


@agent.on("py.keep_task")
def keep_task(task):
    """Everything of a task raises once it has ended."""
    kept[:] = [task, task.payload, task.result(100)]
    return b"kept"


@agent.on("py.use_kept")
def use_kept(task):
    raised = []
    for use in (
        lambda: kept[0].payload,
        lambda: kept[0].result(10),
        lambda: kept[0].complete(b"twice"),
        lambda: kept[0].fail("twice"),
        lambda: kept[0].id,
        lambda: bytes(kept[1]),
        lambda: kept[2].__setitem__(0, 1),
    ):
        try:
            use()
            raised.append("nothing")
        except ValueError:
            raised.append("ValueError")
    return " ".join(raised)


@agent.on("py.keep_slice")
def keep_slice(task):
    """The library cannot take a slice back: the task fails of it, and the slice stays readable."""
    kept[:] = [task.payload[1:]]
    return b"kept"


@agent.on("py.keep_result")
def keep_result(task):
    kept[:] = [task.result(50_000)[1:]]
    return None


@agent.on("py.poke_slice")
def poke_slice(task):
    """Reads or writes what was kept: neither crashes, nor changes what is somebody's by now."""
    if kept[0].readonly:
        return str(len(bytes(kept[0])))
    kept[0][:] = bytes(len(kept[0]))
    return "poked"


@agent.on("py.drop_slice")
def drop_slice(task):
    kept.clear()
    gc.collect()


@agent.on("py.cancelled")
def cancelled(task):
    task.sleep(1000)


@agent.on("py.bounce")
def bounce(task):
    received = agent.receive(20)
    region = agent.allocate(len(received.data))
    region.data[:] = received.data
    sender = received.from_party
    received.send(sender, 1)
    region.send(sender, 2)
    try:
        region.data
    except ValueError:
        return "bounced"


@agent.on("py.subscribe")
def subscribe(task):
    agent.subscribe(task.text)
    try:
        agent.subscribe("not a name")
    except ValueError as e:
        return str(e)


@agent.on("py.capitals")
def capitals(task):
    """Hears one, and publishes it in capitals."""
    received = agent.receive(20)
    region = agent.allocate(len(received.data))
    region.data[:] = bytes(received.data).upper()
    return f"{received.topic} {region.publish(task.text, received.tag + 1)}"


@agent.on("py.join")
def join(task):
    return b"".join(bytes(i) for i in task.inputs)


@agent.on("py.fail")
def fail(task):
    task.fail("as it was told")


if "poll" in sys.argv:
    poller = select.poll()
    poller.register(agent.fileno(), select.POLLIN)
    handlers = {"py.echo": echo, "py.nothing": nothing}
    while not agent.has_ended:
        task = agent.next_task(0)
        if task is None:
            poller.poll()
            continue
        result = handlers[task.capability](task)
        task.complete(None if result is None else bytes(result))
else:
    agent.run()
