# Real swarms, harmed. Their agents are raw clones, in which a sanitizer's own locks and threads
# would not be in order; and the sanitizers answer the SIGSEGV that some of these tests ask for.
function(ms_fault_test name)
  ms_test(NAME fault.${name} ${ARGN} TIMEOUT 120 NOT_UNDER asan tsan)
  add_dependencies(test_fault_${name} microswarm)
endfunction()

ms_fault_test(supervisor SOURCES fault_supervisor_test.cpp LIBS ms_ipc)
