// For SHA-256's own functions below. OpenSSL 3 would rather have EVP used, which makes its state anew for each message and
// takes five times as long; this state is plain bytes that can be copied.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <cjose/cjose.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
