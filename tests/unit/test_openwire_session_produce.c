#include "tests/unit/test_openwire_session.h"
int openwire_produce_tests(void)
{
    return 0;
}
