#define BOOST_TEST_MODULE micro_swarm
#include <boost/test/unit_test.hpp>
