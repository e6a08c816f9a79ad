# Real swarms, harmed. Their agents are raw clones, in which a sanitizer's own locks and threads
# would not be in order; and the sanitizers answer the SIGSEGV that some of these tests ask for.
function(ms_fault_test name)
  ms_test(NAME fault.${name} ${ARGN} TIMEOUT 120 NOT_UNDER asan tsan)
  add_dependencies(test_fault_${name} microswarm)
endfunction()

ms_fault_test(supervisor SOURCES fault_supervisor_test.cpp LIBS ms_ipc)
ms_fault_test(agents SOURCES fault_agents_test.cpp LIBS ms_ipc)
ms_fault_test(agent_changes SOURCES agent_changes_test.cpp LIBS ms_ipc)
# Plugins: built as a stranger builds them, with nothing of ours but the header.
function(ms_test_plugin name source)
  add_library(${name} MODULE ${source})
  set_target_properties(${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests
                        C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wpedantic)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/agentproc/plugin)
  target_compile_definitions(${name} PRIVATE ${ARGN})
endfunction()
ms_test_plugin(text_tools ../examples/agents/text_tools.c)
ms_test_plugin(broken_plugin broken_plugin.c)
ms_test_plugin(no_entry_plugin broken_plugin.c NO_ENTRY)
ms_test_plugin(old_plugin broken_plugin.c VERSION=7)
ms_test_plugin(unwilling_plugin broken_plugin.c SAYS_NO)
ms_test_plugin(misnamed_plugin broken_plugin.c BAD_NAME)
ms_test(NAME agent.plugins SOURCES plugin_test.cpp LIBS ms_ipc TIMEOUT 120 NOT_UNDER asan tsan)
target_compile_definitions(test_agent_plugins PRIVATE MS_PLUGINS="${CMAKE_BINARY_DIR}/tests")
add_dependencies(test_agent_plugins microswarm text_tools broken_plugin no_entry_plugin old_plugin
                 unwilling_plugin misnamed_plugin)
ms_test(NAME neural.swap SOURCES neural_swap_test.cpp LIBS ms_ipc ms_onnx_proto TIMEOUT 120
        NOT_UNDER asan tsan)
add_dependencies(test_neural_swap microswarm)
ms_fault_test(clients SOURCES fault_clients_test.cpp LIBS ms_ipc)
ms_fault_test(shutdown SOURCES fault_shutdown_test.cpp LIBS ms_ipc)
ms_fault_test(control_channel SOURCES fault_control_channel_test.cpp LIBS ms_ipc)

add_executable(rogue_agent rogue_agent.cpp)
set_target_properties(rogue_agent PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_link_libraries(rogue_agent PRIVATE ms_agentproc ms_flags)
ms_fault_test(isolation SOURCES fault_isolation_test.cpp LIBS ms_ipc)
add_dependencies(test_fault_isolation rogue_agent)

# A hostile agent, in a swarm of uid 0 (where this runs as that) and in one of an ordinary user.
add_executable(hostile_agent hostile_agent.cpp)
set_target_properties(hostile_agent PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_link_libraries(hostile_agent PRIVATE ms_agentproc ms_flags)
ms_fault_test(hostile SOURCES fault_hostile_test.cpp LIBS ms_ipc)
add_dependencies(test_fault_hostile hostile_agent)
add_test(NAME fault.hostile_as_user
         COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/scripts/as_user.sh ${CMAKE_BINARY_DIR}
                 tests/test_fault_hostile tests/hostile_agent microswarm)
ms_test_properties(fault.hostile_as_user TIMEOUT 120 NOT_UNDER asan tsan)

# Agents over the C ABI: built as a stranger builds them, with nothing of ours but the library.
foreach(agent abi_agent.c ../examples/agents/shout.c ../examples/agents/scale.cpp)
  get_filename_component(name ${agent} NAME_WE)
  if(agent MATCHES examples)
    set(name example_${name})
  endif()
  add_executable(${name} ${agent})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests
                        C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wpedantic)
  target_link_libraries(${name} PRIVATE MicroSwarm::agent)
  if(MS_SANITIZE)  # the library's sanitizer must be the program's first
    target_link_options(${name} PRIVATE -fsanitize=${MS_SANITIZE})
  endif()
  list(APPEND abi_agents ${name})
endforeach()
ms_test(NAME agent.abi SOURCES agent_abi_test.cpp LIBS ms_ipc TIMEOUT 120)
add_dependencies(test_agent_abi microswarm ${abi_agents})
ms_test(NAME channel.topics_swarm SOURCES topics_swarm_test.cpp LIBS ms_ipc TIMEOUT 120)
add_dependencies(test_channel_topics_swarm microswarm abi_agent)

# The module's code is not the sanitizers' program's: Python is.
ms_test(NAME agent.python SOURCES agent_python_test.cpp LIBS ms_ipc TIMEOUT 120 NOT_UNDER asan tsan)
add_dependencies(test_agent_python microswarm microswarm_python)
target_compile_definitions(test_agent_python PRIVATE
  MS_PYTHON="${Python_EXECUTABLE}" MS_PYTHON_MODULE_DIR="${CMAKE_BINARY_DIR}/python"
  MS_TESTS_DIR="${CMAKE_CURRENT_SOURCE_DIR}")

# Guard mode kills by SIGSEGV; and what holds without it holds with it.
ms_test(NAME memory.guard SOURCES memory_guard_test.cpp LIBS ms_ipc TIMEOUT 120
        NOT_UNDER asan tsan)
add_dependencies(test_memory_guard microswarm rogue_agent)
# But the one that counts how many regions of exactly the pool's size there are: each has a redzone.
add_test(NAME memory.guard_swarm COMMAND test_client_swarm
         --run_test=!client_swarm/a_pool_smaller_than_the_work_is_waited_for)
add_test(NAME memory.guard_options COMMAND test_client_options)
add_test(NAME memory.guard_transfer COMMAND test_memory_transfer_swarm)
add_test(NAME memory.guard_random_kills COMMAND test_fault_random_kills -- 3000)
foreach(name swarm options transfer random_kills)
  ms_test_properties(memory.guard_${name} TIMEOUT 240 SERIAL NOT_UNDER asan tsan
                     ENVIRONMENT MS_TEST_GUARD=1)
endforeach()

# The filter stays with the process, so this is a program of its own.
ms_fault_test(kernel_6_1 SOURCES fault_kernel_6_1_test.cpp LIBS ms_ipc PkgConfig::seccomp)

# ---- the decisions behind it, without a process ----
ms_test(NAME scheduler.order SOURCES scheduler_order_test.cpp LIBS ms_scheduling)
ms_test(NAME scheduler.states SOURCES scheduler_states_test.cpp LIBS ms_scheduling)
ms_test(NAME scheduler.model SOURCES scheduler_model.cpp scheduler_model_test.cpp
        LIBS ms_scheduling rapidcheck TIMEOUT 120)
ms_test(NAME agent.turnover SOURCES agent_turnover_test.cpp LIBS ms_supervisor)
ms_test(NAME scheduler.restarts SOURCES restart_policy_test.cpp LIBS ms_supervisor)
ms_test(NAME scheduler.health SOURCES health_test.cpp LIBS ms_supervisor)
ms_test(NAME scheduler.task_steps SOURCES task_steps_test.cpp LIBS ms_supervisor)
