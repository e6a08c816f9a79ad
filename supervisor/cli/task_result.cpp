#include "supervisor/cli/task_result.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "common/base64.hpp"
#include "supervisor/cli/render.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

std::string text_of(const json& object, const char* key) {
  const auto member = object.find(key);
  return member != object.end() && member->is_string() ? member->get<std::string>() : std::string();
}

Error malformed(const std::string& what) {
  return Error{ErrorCode::protocol, "the answer to task.result " + what};
}

/// read() and not a mapping: what the owner of the memory does with it later is not our trouble.
Result<std::vector<std::byte>> read_memory(int fd, std::uint64_t offset, std::uint64_t size) {
  const auto end = posix_call("lseek in a result", [fd] { return ::lseek(fd, 0, SEEK_END); });
  if (!end) return end.error();
  if (offset > static_cast<std::uint64_t>(*end) || size > static_cast<std::uint64_t>(*end) - offset)
    return malformed("points outside its memory");
  std::vector<std::byte> bytes(size);
  for (std::size_t done = 0; done < bytes.size();) {
    const auto got = posix_call("read a result", [&] {
      return ::pread(fd, bytes.data() + done, bytes.size() - done,
                     static_cast<off_t>(offset + done));
    });
    if (!got) return got.error();
    if (*got == 0) return malformed("points outside its memory");
    done += static_cast<std::size_t>(*got);
  }
  return bytes;
}

Result<void> write_file(const std::string& path, std::span<const std::byte> bytes) {
  const auto opened = posix_call("create " + path, [&path] {
    return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  });
  if (!opened) return opened.error();
  const UniqueFd file(*opened);
  return write_all(file.get(), bytes, "write " + path);
}

}  // namespace

int exit_code_of_state(std::string_view state) {
  if (state == "failed") return to_int(ExitCode::failed);
  if (state == "cancelled") return to_int(ExitCode::cancelled);
  if (state == "dead_letter") return to_int(ExitCode::dead_letter);
  if (state == "timed_out") return to_int(ExitCode::timed_out);
  return to_int(ExitCode::ok);
}

std::string task_state_of(const json& answer) {
  if (const auto task = answer.find("task"); task != answer.end() && task->is_object())
    return text_of(*task, "state");
  return text_of(answer, "state");
}

Result<std::vector<std::byte>> result_bytes(const ControlLine& answer) {
  if (const auto text = answer.object.find("inline_base64"); text != answer.object.end()) {
    if (!text->is_string()) return malformed("has an inline_base64 that is no text");
    auto bytes = base64_decode(text->get_ref<const std::string&>());
    if (!bytes) return malformed("has an inline_base64 that is none");
    return std::move(*bytes);
  }
  const auto offset = answer.object.find("offset");
  const auto size = answer.object.find("size");
  if (answer.fds.empty() || offset == answer.object.end() || size == answer.object.end() ||
      !offset->is_number_unsigned() || !size->is_number_unsigned())
    return malformed("holds no result");
  return read_memory(answer.fds.front().get(), offset->get<std::uint64_t>(),
                     size->get<std::uint64_t>());
}

Result<void> print_result(const Cli& shared, const TaskEnd& end, const std::string& output) {
  const std::string_view text(reinterpret_cast<const char*>(end.bytes.data()), end.bytes.size());
  const bool is_failure = exit_code_of_state(end.state) != 0;
  if (!output.empty() && !is_failure)
    if (auto written = write_file(output, end.bytes); !written) return written;

  if (shared.format == OutputFormat::json) {
    json object{{"id", end.id},
                {"state", end.state},
                {"attempts", end.attempts},
                {"size", end.bytes.size()}};
    if (output.empty() || is_failure) {
      object["result_base64"] = base64_encode(end.bytes);
      if (is_printable_text(text)) object["result_text"] = text;
    } else {
      object["output"] = output;
    }
    return print_json(std::move(object));
  }
  if (is_failure) {
    std::fprintf(stderr, "microswarm: task %llu %s%s%s\n", static_cast<unsigned long long>(end.id),
                 end.state.c_str(), text.empty() ? "" : ": ",
                 is_printable_text(text) ? std::string(text).c_str() : "(bytes that are no text)");
    return {};
  }
  return output.empty() ? print(end.bytes) : Result<void>();
}

}  // namespace micro_swarm::cli
