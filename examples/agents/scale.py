"""An agent in Python: doubles float32 values, from region to region."""

import microswarm

agent = microswarm.Agent()


@agent.on("scale")
def scale(task):
    values = task.payload.cast("f")
    out = task.result(values.nbytes).cast("f")
    for i, value in enumerate(values):
        out[i] = 2 * value


agent.run()
