/* Small texts that several verbs print. */
#ifndef CFS_CLI_TEXT_H
#define CFS_CLI_TEXT_H

#include <stdint.h>
#include <stdio.h>

#define CLI_UUID_BYTES 37

void cli_uuid_text(const uint8_t uuid[16], char out[CLI_UUID_BYTES]);
/* @text as a JSON string, quotes and all; bytes that are not UTF-8 become U+FFFD. */
void cli_json_text(FILE *to, const char *text);

#endif
