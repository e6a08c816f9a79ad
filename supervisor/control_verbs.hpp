#pragma once

// What the control socket's verbs do (docs/control-protocol.md). Reads the supervisor's state and
// calls its parts; everything in a request is input.

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "supervisor/agents.hpp"
#include "supervisor/cache_store.hpp"
#include "supervisor/clients.hpp"
#include "supervisor/control_server.hpp"
#include "supervisor/holdings.hpp"
#include "supervisor/topics.hpp"

namespace micro_swarm {

class ControlVerbs {
 public:
  struct Parts {
    SupervisorContext& c;
    Banks& banks;
    Tasks& tasks;
    Agents& agents;
    Clients& clients;
    Holdings& holdings;
    CacheStore& cache;
    Topics& topics;
  };
  using Reply = std::shared_ptr<ControlReply>;

  ControlVerbs(Parts parts, std::function<void(bool at_once)> stop)
      : parts_(parts), stop_(std::move(stop)) {}
  void set_server(const ControlServer* server) { server_ = server; }

  void handle(const nlohmann::json& request, const Reply& reply);

 private:
  nlohmann::json status() const;
  nlohmann::json agent(PartyId p, bool whole) const;
  nlohmann::json task(std::uint32_t slot) const;
  void agent_list(const Reply& reply) const;
  void agent_show(const nlohmann::json& request, const Reply& reply) const;
  void agent_register(const nlohmann::json& request, const Reply& reply);
  void agent_scale(const nlohmann::json& request, const Reply& reply);
  void agent_swap(const nlohmann::json& request, const Reply& reply);
  void agent_end(bool restart, const nlohmann::json& request, const Reply& reply);
  /// By state.
  nlohmann::json agent_counts() const;
  void task_find(const nlohmann::json& request, const Reply& reply) const;
  void task_list(const nlohmann::json& request, const Reply& reply) const;
  void task_wait(const nlohmann::json& request, const Reply& reply);
  void task_result(const nlohmann::json& request, const Reply& reply);
  void task_cancel(const nlohmann::json& request, const Reply& reply);
  void task_show(TaskId id, const Reply& reply) const;
  void task_explain(const nlohmann::json& request, const Reply& reply);
  void task_requeue(const nlohmann::json& request, const Reply& reply);
  void scheduler_set(const nlohmann::json& request, const Reply& reply);
  void region_list(const nlohmann::json& request, const Reply& reply) const;
  void memory_show(const Reply& reply) const;
  void memory_set(const nlohmann::json& request, const Reply& reply);
  void memory_gc(const Reply& reply);
  void cache_list(const Reply& reply) const;
  void cache_show(const Reply& reply) const;
  void cache_set(const nlohmann::json& request, const Reply& reply);
  nlohmann::json memory_classes() const;
  nlohmann::json memory_owners() const;
  nlohmann::json memory_categories() const;
  void events(const nlohmann::json& request, const Reply& reply);
  void attach(const Reply& reply);
  /// The agent a request names; nullopt: an error has been sent.
  std::optional<PartyId> find_agent(const nlohmann::json& request, const Reply& reply) const;
  std::optional<std::uint32_t> find_kind(const nlohmann::json& request, const Reply& reply) const;
  /// The task a request names, or an error has been sent.
  TaskRecord* find_task(const nlohmann::json& request, const Reply& reply, TaskId& id);

  Parts parts_;
  std::function<void(bool)> stop_;
  const ControlServer* server_ = nullptr;
};

}  // namespace micro_swarm
