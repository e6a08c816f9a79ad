#include "agentproc/data_operations.hpp"

#include <new>
#include <string>

#include "agentproc/operations/operations.hpp"

namespace micro_swarm {

namespace {

class TaskOutput final : public operations::Output {
 public:
  explicit TaskOutput(TaskContext& task) : task_(task) {}
  Result<std::span<std::byte>> room(std::size_t size_bytes) override {
    return task_.result_buffer(size_bytes);
  }
  void shrink(std::size_t size_bytes) override { task_.shrink_result(size_bytes); }
  bool go_on() override {
    task_.report_progress();
    return !task_.cancelled();
  }

 private:
  TaskContext& task_;
};

Outcome run(TaskContext& task, operations::Function function) {
  const auto request = operations::split(task.payload());
  if (!request) return task.fail(request.error());
  // A copy: the submitter could change the text while it is read.
  const std::string parameters(request->parameters);
  std::vector<std::span<const std::byte>> pieces;
  for (const TaskInput& input : task.inputs())
    if (input.state == TaskState::done && !input.bytes.empty()) pieces.push_back(input.bytes);
  if (!request->data.empty()) pieces.push_back(request->data);
  TaskOutput output(task);
  try {
    const auto done = function(parameters, pieces, output);
    return done ? Outcome::done : task.fail(done.error());
  } catch (const std::bad_alloc&) {
    return task.fail("there is not enough memory for the data");
  }
}

}  // namespace

std::vector<std::string_view> data_operation_names() {
  std::vector<std::string_view> names;
  for (const operations::Operation& operation : operations::all()) names.push_back(operation.name);
  return names;
}

void add_data_operations(HandlerSet& handlers) {
  for (const operations::Operation& operation : operations::all())
    handlers.add(std::string(operation.name),
                 [function = operation.run](TaskContext& task) { return run(task, function); });
}

}  // namespace micro_swarm
