// libcurl, loaded when the first store on S3 is opened, with its variadic functions as typed ones
// that Swift can call.
//
// Debian's libcurl brings some thirty libraries (GnuTLS, Kerberos, LDAP, ...): 5 MiB and some 3 ms
// of every start, for nothing in a run that writes to a local folder.
#ifndef TRANCHE_CCURL_H
#define TRANCHE_CCURL_H

#include <curl/curl.h>

typedef size_t (*tranche_curl_callback)(char* bytes, size_t size, size_t count, void* context);

// Loads and starts libcurl. Returns NULL, or what keeps it from that: to be copied before the
// thread loads anything else. Not for two threads at a time; nothing below may be called before it
// has returned NULL.
const char* tranche_curl_load(void);

CURL* tranche_curl_new(void);
void tranche_curl_free(CURL* curl);
void tranche_curl_reset(CURL* curl);
CURLcode tranche_curl_perform(CURL* curl);
const char* tranche_curl_describe(CURLcode code);

struct curl_slist* tranche_curl_list_append(struct curl_slist* list, const char* text);
void tranche_curl_list_free(struct curl_slist* list);

CURLcode tranche_curl_set_long(CURL* curl, CURLoption option, long value);
CURLcode tranche_curl_set_string(CURL* curl, CURLoption option, const char* value);
CURLcode tranche_curl_set_pointer(CURL* curl, CURLoption option, void* value);
CURLcode tranche_curl_set_size(CURL* curl, CURLoption option, curl_off_t value);
CURLcode tranche_curl_set_callback(CURL* curl, CURLoption option, tranche_curl_callback value);
CURLcode tranche_curl_status(CURL* curl, long* status);

#endif
