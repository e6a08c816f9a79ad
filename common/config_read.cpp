#include "common/config_read.hpp"

#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>

#include "common/config_schema.hpp"
#include "common/edit_distance.hpp"
#include "common/size_text.hpp"

namespace micro_swarm::config_detail {

namespace schema = config_schema;

namespace {

std::string type_text(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "an array";
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "a whole number";
    case toml::node_type::floating_point: return "a fractional number";
    case toml::node_type::boolean: return "a boolean";
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time: return "a date or time";
    case toml::node_type::none: break;
  }
  return "nothing";
}

std::uint32_t line_of(const toml::node& node) { return node.source().begin.line; }

/// What was found wrong, reported in the order of the file.
class Problems {
 public:
  explicit Problems(std::string file) : file_(std::move(file)) {}

  void add(std::uint32_t line, std::string_view key, std::string_view text) {
    found_.push_back({line, std::string(key) + ": " + std::string(text)});
  }

  void wrong_type(const toml::node& node, std::string_view key, std::string_view expected) {
    add(line_of(node), key, "expected " + std::string(expected) + ", found " + type_text(node));
  }

  bool empty() const { return found_.empty(); }

  Error error() {
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Problem& a, const Problem& b) { return a.line < b.line; });
    std::string text =
        file_ + ":" + std::to_string(found_.front().line) + ": " + found_.front().text;
    if (found_.size() > 1) text += " (and " + std::to_string(found_.size() - 1) + " more below it)";
    return Error{ErrorCode::config, std::move(text)};
  }

 private:
  struct Problem {
    std::uint32_t line;
    std::string text;
  };
  std::string file_;
  std::vector<Problem> found_;
};

/// Puts one TOML value into one setting, as its rule says.
struct SettingReader {
  Problems& problems;
  const toml::node& node;
  const std::string& key;

  template <class Integer>
  void read(Integer& value, schema::Range rule) const {
    const std::string allowed = std::to_string(rule.min) + " to " + std::to_string(rule.max);
    const auto* number = node.as_integer();
    if (number == nullptr) return problems.wrong_type(node, key, "a whole number from " + allowed);
    if (number->get() < 0 || static_cast<std::uint64_t>(number->get()) < rule.min ||
        static_cast<std::uint64_t>(number->get()) > rule.max)
      return problems.add(line_of(node), key,
                          std::to_string(number->get()) + " is out of range; allowed: " + allowed);
    value = static_cast<Integer>(number->get());
  }

  void read(std::uint64_t& value, schema::SizeRange rule) const {
    std::optional<std::uint64_t> bytes;
    std::string shown;
    if (const auto* number = node.as_integer()) {
      shown = std::to_string(number->get());
      if (number->get() >= 0) bytes = static_cast<std::uint64_t>(number->get());
    } else if (const auto* text = node.as_string()) {
      shown = "\"" + text->get() + "\"";
      bytes = parse_size(text->get());
      if (!bytes)
        return problems.add(line_of(node), key,
                            shown +
                                " is not a size; write bytes, or a text such as \"64KiB\", "
                                "\"28MiB\" or \"1GiB\"");
    } else {
      return problems.wrong_type(node, key, "bytes or a text such as \"28MiB\"");
    }
    if (!bytes || *bytes < rule.min || *bytes > rule.max)
      return problems.add(line_of(node), key,
                          shown + " is out of range; allowed: " + exact_size_text(rule.min) +
                              " to " + exact_size_text(rule.max));
    if (rule.power_of_two && (*bytes & (*bytes - 1)) != 0)
      return problems.add(line_of(node), key,
                          shown + " is not a power of two; allowed: " + exact_size_text(rule.min) +
                              " to " + exact_size_text(rule.max) + ", powers of two");
    value = *bytes;
  }

  void read(bool& value, schema::Switch) const {
    const auto* boolean = node.as_boolean();
    if (boolean == nullptr) return problems.wrong_type(node, key, "true or false");
    value = boolean->get();
  }

  template <class Enum>
  void read(Enum& value, schema::Choice) const {
    const auto words = schema::words_of<Enum>();
    const auto* text = node.as_string();
    if (text == nullptr) return problems.wrong_type(node, key, schema::one_of(words));
    if (schema::enum_from_word(text->get(), value)) return;
    std::string message = "\"" + text->get() + "\" is unknown; allowed: " + schema::one_of(words);
    if (const auto near = nearest(text->get(), words); !near.empty())
      message += "; did you mean \"" + near + "\"?";
    problems.add(line_of(node), key, message);
  }

  void read(std::string& value, schema::Name) const {
    const auto* text = node.as_string();
    if (text == nullptr) return problems.wrong_type(node, key, "a name");
    if (!is_valid_name(text->get()))
      return problems.add(
          line_of(node), key,
          "\"" + text->get() + "\" is no name; allowed: [a-z0-9_-], 1 to 32 of them");
    value = text->get();
  }

  void read(std::string& value, schema::Text) const {
    const auto* text = node.as_string();
    if (text == nullptr) return problems.wrong_type(node, key, "a string");
    if (text->get().find('\0') != std::string::npos)
      return problems.add(line_of(node), key, "holds a NUL character");
    value = text->get();
  }
};

std::string did_you_mean(std::string_view key, const std::vector<std::string>& valid) {
  if (const auto near = nearest(key, valid); !near.empty())
    return "unknown key; did you mean \"" + near + "\"?";
  std::string all;
  for (const auto& word : valid) all += (all.empty() ? "" : ", ") + word;
  return "unknown key; known here: " + all;
}

class Reader {
 public:
  Reader(const std::filesystem::path& file, Config& config)
      : file_(file), config_(config), problems_(file.string()) {}

  Result<SettingLines> read(const toml::table& root) {
    collect_known();
    for (const auto& [key, node] : root) read_top(std::string(key.str()), key.source(), node);
    if (!problems_.empty()) return problems_.error();
    return std::move(lines_);
  }

 private:
  void collect_known() {
    schema::visit_settings(config_,
                           [this](std::string_view table, std::string_view key, auto&, auto) {
                             auto& keys = known_[std::string(table)];
                             keys.emplace_back(key);
                           });
  }

  void read_top(const std::string& key, const toml::source_region& where, const toml::node& node) {
    if (key == "agent") {
      const auto* agents = node.as_array();
      if (agents == nullptr || !agents->is_array_of_tables())
        return problems_.add(line_of(node), key, "write each kind of agent as a table [[agent]]");
      config_.origins["agent"] = ConfigOrigin::file;
      for (const auto& agent : *agents) read_agent(*agent.as_table());
      return;
    }
    if (key == "category") {
      const auto* categories = node.as_array();
      if (categories == nullptr || !categories->is_array_of_tables())
        return problems_.add(line_of(node), key, "write each category as a table [[category]]");
      for (const auto& category : *categories) read_category(*category.as_table());
      return;
    }
    if (const auto known = known_.find(key); known != known_.end()) {
      const auto* table = node.as_table();
      if (table == nullptr) return problems_.wrong_type(node, key, "a table [" + key + "]");
      return read_table(key, known->second, *table);
    }
    for (const auto& [table, keys] : known_)
      if (std::find(keys.begin(), keys.end(), key) != keys.end())
        return problems_.add(where.begin.line, key,
                             "unknown key here; it belongs into [" + table + "]");
    std::vector<std::string> valid{"agent", "category"};
    for (const auto& [table, keys] : known_) valid.push_back(table);
    problems_.add(where.begin.line, key, did_you_mean(key, valid));
  }

  void read_table(const std::string& name, const std::vector<std::string>& keys,
                  const toml::table& table) {
    for (const auto& [key, node] : table)
      if (std::find(keys.begin(), keys.end(), key.str()) == keys.end())
        problems_.add(key.source().begin.line, name + "." + std::string(key.str()),
                      did_you_mean(key.str(), keys));
    schema::visit_settings(
        config_, [&](std::string_view a_table, std::string_view key, auto& value, auto rule) {
          if (a_table != name) return;
          const toml::node* node = table.get(key);
          if (node == nullptr) return;
          const std::string full = name + "." + std::string(key);
          SettingReader{problems_, *node, full}.read(value, rule);
          config_.origins[full] = ConfigOrigin::file;
          lines_[full] = line_of(*node);
        });
  }

  void check_keys(const toml::table& table, const std::string& prefix,
                  const std::vector<std::string>& keys) {
    for (const auto& [key, node] : table)
      if (std::find(keys.begin(), keys.end(), key.str()) == keys.end())
        problems_.add(key.source().begin.line, prefix + std::string(key.str()),
                      did_you_mean(key.str(), keys));
  }

  void read_category(const toml::table& table) {
    CategorySpec spec;
    std::vector<std::string> keys;
    schema::visit_category(spec,
                           [&keys](std::string_view key, auto&, auto) { keys.emplace_back(key); });
    check_keys(table, "category.", keys);
    const std::uint32_t line = line_of(table);
    if (table.get("name") == nullptr)
      problems_.add(line, "category.name", "missing; each [[category]] needs a name");
    schema::visit_category(spec, [&](std::string_view key, auto& value, auto rule) {
      if (const auto* node = table.get(key))
        SettingReader{problems_, *node, "category." + std::string(key)}.read(value, rule);
    });
    for (const auto& other : config_.categories)
      if (!spec.name.empty() && other.name == spec.name)
        problems_.add(line, "category.name",
                      "\"" + spec.name + "\" is used twice; names are unique");
    if (config_.categories.size() == categories_max)
      problems_.add(line, "category",
                    "there are more than " + std::to_string(categories_max) +
                        " categories; that is as many as are allowed");
    if (config_.categories.size() <= categories_max) config_.categories.push_back(std::move(spec));
  }

  void read_agent(const toml::table& table) {
    AgentSpec spec;
    check_keys(table, "agent.", {schema::agent_keys.begin(), schema::agent_keys.end()});

    const std::uint32_t line = line_of(table);
    if (table.get("name") == nullptr) {
      problems_.add(line, "agent.name", "missing; each [[agent]] needs a name");
    } else {
      read_setting(table, "name", spec.name, schema::Name{});
    }
    read_setting(table, "kind", spec.kind, schema::Choice{});
    read_setting(table, "count", spec.count, schema::Range{0, agents_max});
    read_setting(table, "version", spec.version, schema::Range{1, 65'535});
    read_setting(table, "weight", spec.weight, schema::Range{1, 1'000});
    read_setting(table, "max_tasks", spec.max_tasks, schema::lifetime_range);
    read_setting(table, "max_age_ms", spec.max_age_ms, schema::lifetime_range);
    if (table.get("memory_quota") != nullptr)
      read_setting(table, "memory_quota", spec.memory_quota.emplace(0), schema::memory_quota_range);
    read_setting(table, "batch_max", spec.batch_max, schema::batch_max_range);
    read_setting(table, "batch_delay_us", spec.batch_delay_us, schema::batch_delay_us_range);
    for (const char* key : {"batch_max", "batch_delay_us"})
      if (const auto* node = table.get(key); node != nullptr && spec.kind != AgentKind::neural)
        problems_.add(line_of(*node), std::string("agent.") + key,
                      "only agents of kind \"neural\" run tasks in batches");
    if (const auto* node = table.get("capabilities")) read_capabilities(*node, spec);
    if (const auto* node = table.get("qubits"); node != nullptr && spec.kind != AgentKind::quantum)
      problems_.add(line_of(*node), "agent.qubits", "only agents of kind \"quantum\" have qubits");
    else
      read_setting(table, "qubits", spec.qubits, schema::qubits_range);
    read_models(table, spec);
    if (const auto* node = table.get("plugins")) read_plugins(*node, spec);
    read_command(table, spec);
    read_containment(table, spec);
    if (const auto* node = table.get("interface"); node != nullptr) {
      if (spec.kind != AgentKind::external)
        problems_.add(line_of(*node), "agent.interface",
                      "only agents of kind \"external\" have an interface");
      else
        read_setting(table, "interface", spec.interface, schema::Choice{});
    }
    if (const auto* node = table.get("environment")) read_environment(*node, spec);

    if (spec.capabilities.empty()) spec.capabilities = default_capabilities(spec.kind, spec.name);
    for (const auto& other : config_.agents)
      if (!spec.name.empty() && other.name == spec.name)
        problems_.add(line, "agent.name", "\"" + spec.name + "\" is used twice; names are unique");
    lines_["agent." + spec.name] = line;
    config_.agents.push_back(std::move(spec));
  }

  template <class Value, class Rule>
  void read_setting(const toml::table& table, std::string_view key, Value& value, Rule rule) {
    if (const auto* node = table.get(key))
      SettingReader{problems_, *node, "agent." + std::string(key)}.read(value, rule);
  }

  void read_capabilities(const toml::node& node, AgentSpec& spec) {
    const std::string key = "agent.capabilities";
    const auto* list = node.as_array();
    if (list == nullptr) return problems_.wrong_type(node, key, "an array of names");
    if (list->empty())
      return problems_.add(line_of(node), key, "is empty; leave it out for the kind's own");
    for (const auto& item : *list) {
      const auto* text = item.as_string();
      if (text == nullptr) {
        problems_.wrong_type(item, key, "an array of names");
      } else if (!is_valid_capability(text->get())) {
        problems_.add(
            line_of(item), key,
            "\"" + text->get() + "\" is no capability; allowed: [a-z0-9_.-], 1 to 31 of them");
      } else if (std::find(spec.capabilities.begin(), spec.capabilities.end(), text->get()) !=
                 spec.capabilities.end()) {
        problems_.add(line_of(item), key, "\"" + text->get() + "\" is there twice");
      } else {
        spec.capabilities.push_back(text->get());
      }
    }
  }

  void read_models(const toml::table& table, AgentSpec& spec) {
    const auto* one = table.get("model");
    const auto* several = table.get("models");
    if (spec.kind != AgentKind::neural) {
      for (const auto& [node, key] : {std::pair{one, "agent.model"}, {several, "agent.models"}})
        if (node != nullptr)
          problems_.add(line_of(*node), key, "only agents of kind \"neural\" have a model");
      return;
    }
    if (one != nullptr) spec.model = read_file(*one, "agent.model");
    if (several == nullptr) {
      if (one == nullptr)
        problems_.add(line_of(table), "agent.model",
                      "missing; an agent of kind \"neural\" needs model = \"FILE.onnx\"");
      return;
    }
    const std::string key = "agent.models";
    const auto* files = several->as_table();
    if (files == nullptr)
      return problems_.wrong_type(*several, key, "a table of files by capability");
    if (one != nullptr)
      return problems_.add(line_of(*several), key,
                           "beside model: one file for all capabilities, or one for each");
    if (files->empty())
      return problems_.add(line_of(*several), key, "is empty; it names a file for each capability");
    if (const auto* named = table.get("capabilities"); named != nullptr)
      return problems_.add(line_of(*named), "agent.capabilities",
                           "are named by models here; leave it out");
    for (const auto& [name, file] : *files) {
      const std::string capability(name.str());
      const std::string place = std::string(key).append(".").append(capability);
      if (!is_valid_capability(capability))
        problems_.add(line_of(file), place, "is no name of a capability: 1 to 31 of [a-z0-9_.-]");
      spec.models[capability] = read_file(file, place);
      spec.capabilities.push_back(capability);
    }
  }

  void read_plugins(const toml::node& node, AgentSpec& spec) {
    const std::string key = "agent.plugins";
    if (spec.kind != AgentKind::generic)
      return problems_.add(line_of(node), key, "only agents of kind \"generic\" have plugins");
    const auto* files = node.as_array();
    if (files == nullptr) return problems_.wrong_type(node, key, "an array of files");
    for (const auto& file : *files) {
      auto path = read_file(file, key);
      if (!path.empty()) spec.plugins.push_back(std::move(path));
    }
  }

  /// The absolute path of a readable file; empty: it is none.
  std::filesystem::path read_file(const toml::node& node, const std::string& key) {
    std::string text;
    SettingReader{problems_, node, key}.read(text, schema::Text{});
    if (text.empty()) return {};
    // An absolute right-hand side replaces the left one.
    auto path = (file_.parent_path() / text).lexically_normal();
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error))
      problems_.add(line_of(node), key,
                    path.string() +
                        " does not exist or is no file; relative paths start "
                        "at the directory of this configuration file");
    else if (::access(path.c_str(), R_OK) != 0)
      problems_.add(line_of(node), key, path.string() + " is not readable");
    return path;
  }

  void read_command(const toml::table& table, AgentSpec& spec) {
    const std::string key = "agent.command";
    const auto* node = table.get("command");
    if (spec.kind != AgentKind::external) {
      if (node != nullptr)
        problems_.add(line_of(*node), key, "only agents of kind \"external\" have a command");
      return;
    }
    if (node == nullptr)
      return problems_.add(
          line_of(table), key,
          "missing; an agent of kind \"external\" needs command = [\"PROGRAM\", \"ARGUMENT\"...]");
    const auto* list = node->as_array();
    if (list == nullptr)
      return problems_.wrong_type(*node, key, "an array of strings, the program first");
    for (const auto& item : *list) {
      std::string text;
      SettingReader{problems_, item, key}.read(text, schema::Text{});
      spec.command.push_back(std::move(text));
    }
    if (spec.command.empty() || spec.command.front().empty())
      problems_.add(line_of(*node), key, "names no program");
  }

  void read_containment(const toml::table& table, AgentSpec& spec) {
    ContainmentOptions& options = spec.containment;
    read_setting(table, "contain", options.enabled, schema::Switch{});
    read_setting(table, "memory_limit", options.memory_limit, schema::memory_limit_range);
    if (table.get("uid") != nullptr)
      read_setting(table, "uid", options.uid.emplace(0), schema::uid_range);
    read_setting(table, "processes_max", options.processes_max, schema::processes_max_range);
    read_paths(table, "readable", spec, options.readable);
    read_paths(table, "writable", spec, options.writable);
    if (options.enabled) return;
    for (const char* key : {"readable", "writable", "memory_limit", "processes_max", "uid"})
      if (const auto* node = table.get(key))
        problems_.add(line_of(*node), std::string("agent.") + key,
                      "holds for contained agents only, and contain is false");
  }

  void read_paths(const toml::table& table, std::string_view name, const AgentSpec& spec,
                  std::vector<std::string>& paths) {
    const auto* node = table.get(name);
    if (node == nullptr) return;
    const std::string key = "agent." + std::string(name);
    if (spec.kind != AgentKind::external)
      return problems_.add(line_of(*node), key, "only agents of kind \"external\" open files");
    const auto* list = node->as_array();
    if (list == nullptr) return problems_.wrong_type(*node, key, "an array of paths");
    paths.clear();
    for (const auto& item : *list) {
      std::string text;
      SettingReader{problems_, item, key}.read(text, schema::Text{});
      if (text.empty()) return problems_.add(line_of(item), key, "holds an empty path");
      paths.push_back((file_.parent_path() / text).lexically_normal().string());
    }
  }

  void read_environment(const toml::node& node, AgentSpec& spec) {
    const auto* table = node.as_table();
    if (table == nullptr)
      return problems_.wrong_type(node, "agent.environment", "a table of strings");
    for (const auto& [name, value] : *table) {
      const std::string variable(name.str());
      const std::string key = "agent.environment." + variable;
      if (variable.empty() ||
          variable.find_first_of(std::string_view("=\0", 2)) != std::string::npos)
        problems_.add(line_of(value), key, "is no name for a variable");
      else if (variable.starts_with("MICROSWARM_"))
        problems_.add(line_of(value), key,
                      "names that begin with MICROSWARM_ are the runtime's own");
      SettingReader{problems_, value, key}.read(spec.environment[variable], schema::Text{});
    }
  }

  const std::filesystem::path& file_;
  Config& config_;
  Problems problems_;
  std::map<std::string, std::vector<std::string>> known_;
  SettingLines lines_;
};

}  // namespace

Result<SettingLines> read_toml(std::string_view text, const std::filesystem::path& file,
                               Config& config) {
  toml::table root;
  try {
    root = toml::parse(text, file.string());
  } catch (const toml::parse_error& error) {
    return Error{ErrorCode::config, file.string() + ":" +
                                        std::to_string(error.source().begin.line) +
                                        ": not TOML: " + std::string(error.description())};
  }
  return Reader(file, config).read(root);
}

}  // namespace micro_swarm::config_detail
