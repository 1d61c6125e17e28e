#include "tests/unit/test_openwire_session.h"
int openwire_consume_tests(void)
{
    return 0;
}
