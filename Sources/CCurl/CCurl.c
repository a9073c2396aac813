#include "CCurl.h"

#include <dlfcn.h>

#define FUNCTIONS(use)                                                                            \
  use(curl_global_init) use(curl_easy_init) use(curl_easy_cleanup) use(curl_easy_reset)           \
      use(curl_easy_perform) use(curl_easy_strerror) use(curl_easy_setopt) use(curl_easy_getinfo) \
          use(curl_slist_append) use(curl_slist_free_all)

// What dlsym found, under libcurl's own names and of its own types.
#define DECLARE(name) __typeof__(&name) name##_found;
static struct {
  FUNCTIONS(DECLARE)
} functions;

static const char* reason(void) {
  const char* text = dlerror();
  return text ? text : "libcurl.so.4 is not what it should be";
}

const char* tranche_curl_load(void) {
  void* library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
  if (!library) return reason();
#define FIND(name)                                                   \
  functions.name##_found = (__typeof__(&name))dlsym(library, #name); \
  if (!functions.name##_found) return reason();
  FUNCTIONS(FIND)
  CURLcode code = functions.curl_global_init_found(CURL_GLOBAL_DEFAULT);
  return code == CURLE_OK ? NULL : functions.curl_easy_strerror_found(code);
}

CURL* tranche_curl_new(void) { return functions.curl_easy_init_found(); }
void tranche_curl_free(CURL* curl) { functions.curl_easy_cleanup_found(curl); }
void tranche_curl_reset(CURL* curl) { functions.curl_easy_reset_found(curl); }
CURLcode tranche_curl_perform(CURL* curl) { return functions.curl_easy_perform_found(curl); }
const char* tranche_curl_describe(CURLcode code) {
  return functions.curl_easy_strerror_found(code);
}

struct curl_slist* tranche_curl_list_append(struct curl_slist* list, const char* text) {
  return functions.curl_slist_append_found(list, text);
}
void tranche_curl_list_free(struct curl_slist* list) { functions.curl_slist_free_all_found(list); }

CURLcode tranche_curl_set_long(CURL* curl, CURLoption option, long value) {
  return functions.curl_easy_setopt_found(curl, option, value);
}
CURLcode tranche_curl_set_string(CURL* curl, CURLoption option, const char* value) {
  return functions.curl_easy_setopt_found(curl, option, value);
}
CURLcode tranche_curl_set_pointer(CURL* curl, CURLoption option, void* value) {
  return functions.curl_easy_setopt_found(curl, option, value);
}
CURLcode tranche_curl_set_size(CURL* curl, CURLoption option, curl_off_t value) {
  return functions.curl_easy_setopt_found(curl, option, value);
}
CURLcode tranche_curl_set_callback(CURL* curl, CURLoption option, tranche_curl_callback value) {
  return functions.curl_easy_setopt_found(curl, option, value);
}
CURLcode tranche_curl_status(CURL* curl, long* status) {
  return functions.curl_easy_getinfo_found(curl, CURLINFO_RESPONSE_CODE, status);
}
