// Hands in a task for each text and prints the results in that order, in whichever they end.
//
//   submit SWARM CAPABILITY TEXT...
//
// Exit codes as the command line's: 1 a task did not end well, 2 usage, 3 no swarm, 5 refused.
#include <iostream>
#include <micro_swarm/client.hpp>

namespace msc = micro_swarm::client;

namespace {

int complain(const msc::Error& error) {
  std::cerr << msc::name_of(error.code) << ": " << error.message << '\n';
  switch (error.code) {
    case msc::ErrorCode::usage: return 2;
    case msc::ErrorCode::not_running: return 3;
    case msc::ErrorCode::refused:
    case msc::ErrorCode::too_large: return 5;
    default: return 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: submit SWARM CAPABILITY TEXT...\n";
    return 2;
  }
  auto client = msc::Client::connect(argv[1]);
  if (!client) return complain(client.error());

  std::vector<std::uint64_t> numbers;
  for (int i = 3; i < argc; ++i) {
    const std::string_view text = argv[i];
    const auto number = client->submit({.capability = argv[2], .payload = msc::bytes_of(text)});
    if (!number) return complain(number.error());
    numbers.push_back(*number);
  }
  int exit_code = 0;
  for (const std::uint64_t number : numbers) {
    const auto result = client->wait(number, 30'000);
    if (!result) return complain(result.error());
    if (result->is_done())
      std::cout << result->text() << '\n';
    else
      exit_code = complain(result->error());
  }
  return exit_code;
}
