// SPDX-License-Identifier: GPL-2.0-or-later
/* One static program for the whole guest: init, agent and tools by name. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

static const struct tool {
	const char *name;
	int (*main)(int argc, char **argv);
} tools[] = {
	{ "cat", cat_main },
	{ "child", child_main },
	{ "cpuload", cpuload_main },
	{ "memload", memload_main },
	{ "pollfile", pollfile_main },
	{ "readpass", readpass_main },
	{ "resize", resize_main },
	{ "write", write_main },
};

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	size_t i;

	name = name ? name + 1 : argv[0];
	if (getpid() == 1)
		return init_main();

	for (i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
		if (!strcmp(name, tools[i].name))
			return tools[i].main(argc, argv);

	fprintf(stderr, "%s: no such tool\n", name);
	return 127;
}
