/* A server's or mount's JSON, for people: a line a value, "core.0.stores.1.records  12345". */
#ifndef CFS_CLI_REPORT_H
#define CFS_CLI_REPORT_H

#include <stdint.h>
#include <stdio.h>

/* Prints @text (@len_bytes of JSON): as lines, or indented JSON. 0; -CFS_EBAD_FORMAT: it is no
 * JSON; -ENOMEM. */
int cli_report_print(FILE *to, const char *text, uint32_t len_bytes, int is_json);

#endif
