// microswarm-bench: measures the product beside the limit of the machine, in the same run.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "tests/bench/output.hpp"
#include "tests/bench/swarm.hpp"

int main(int argc, char** argv) {
  using namespace micro_swarm::bench;
  const std::vector<Group> groups{ring_group(),     task_group(),      memory_group(),
                                  recovery_group(), scheduler_group(), idle_group(),
                                  journal_group(),  cache_group(),     agent_group(),
                                  quantum_group(),  neural_group()};
  std::vector<std::string> names;
  for (const Group& group : groups) names.push_back(group.name);

  CLI::App app("Measures the swarm beside the limit of the machine, in the same run");
  bool list = false;
  Options options;
  std::string format = "table";
  std::vector<std::string> wanted;
  app.add_flag("--list", list, "Names the groups and their figures, and ends");
  app.add_flag("--quick", options.quick, "A few short windows: shows that it works, not how fast");
  app.add_option("--format", format, "table, or json: one object a line")
      ->check(CLI::IsMember({"table", "json"}));
  app.add_option("group", wanted, "Only these groups")->check(CLI::IsMember(names));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }

  if (list) {
    for (const Group& group : groups)
      for (const std::string& figure : group.figures)
        std::printf("%s\t%s\n", group.name.c_str(), figure.c_str());
    return 0;
  }
  use_binary_beside_this_program();
  const bool json = format == "json";
  if (!json) std::printf("%s\n", table_head().c_str());
  int failed = 0;
  for (const Group& group : groups) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), group.name) == wanted.end())
      continue;
    try {
      group.run(options, [json](const Figure& figure) {
        std::printf("%s\n", (json ? to_json_line(figure) : table_line(figure)).c_str());
        std::fflush(stdout);
      });
    } catch (const std::exception& e) {
      std::fprintf(stderr, "microswarm-bench: %s: %s\n", group.name.c_str(), e.what());
      failed = 1;
    }
  }
  return failed;
}
