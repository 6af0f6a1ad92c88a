/* Base64 of RFC 4648, section 4, as the JSON gateway of etcd has it: padded, no line breaks. */
#ifndef CFS_CTL_BASE64_H
#define CFS_CTL_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Room for the text of @len_bytes, with its NUL. */
#define CFS_BASE64_TEXT_BYTES(len_bytes) (((size_t)(len_bytes) + 2) / 3 * 4 + 1)

void cfs_base64_encode(const void *data, size_t len_bytes, char *text_out);
/* Decodes @len_bytes of @text into @out, which has room for three bytes for each four. Returns how
 * many bytes; -CFS_EBAD_FORMAT: not what the encoder writes, @out is undefined. */
int64_t cfs_base64_decode(const char *text, size_t len_bytes, uint8_t *out);

#endif
