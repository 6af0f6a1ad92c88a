/* Prints the options of the configuration for the manual pages. */
#include "base/config.h"

int main(void)
{
	cfs_config_man(stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}
