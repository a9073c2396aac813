// What Swift cannot call by itself: libcurl's variadic functions, as typed functions. Everything else is libcurl's own header.
#ifndef TRANCHE_CCURL_SHIM_H
#define TRANCHE_CCURL_SHIM_H

#include <curl/curl.h>

typedef size_t (*tranche_curl_callback)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode tranche_curl_set_long(CURL *curl, CURLoption option, long value) { return curl_easy_setopt(curl, option, value); }
static inline CURLcode tranche_curl_set_string(CURL *curl, CURLoption option, const char *value) {
  return curl_easy_setopt(curl, option, value);
}
static inline CURLcode tranche_curl_set_pointer(CURL *curl, CURLoption option, void *value) {
  return curl_easy_setopt(curl, option, value);
}
static inline CURLcode tranche_curl_set_size(CURL *curl, CURLoption option, curl_off_t value) {
  return curl_easy_setopt(curl, option, value);
}
static inline CURLcode tranche_curl_set_callback(CURL *curl, CURLoption option, tranche_curl_callback value) {
  return curl_easy_setopt(curl, option, value);
}
static inline CURLcode tranche_curl_status(CURL *curl, long *status) { return curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status); }

#endif
