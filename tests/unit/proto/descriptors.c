#include "tests/unit/proto/descriptors.h"

#include <string.h>

#include "common/base.h"
#include "proto/cluster.pb-c.h"
#include "proto/local.pb-c.h"
#include "proto/peer.pb-c.h"
#include "proto/state.pb-c.h"
#include "tests/unit/proto/reference.h"

static const ProtobufCMessageDescriptor *const descriptors[] = {
    &wire__open__descriptor,
    &wire__welcome__descriptor,
    &wire__refused__descriptor,
    &wire__class__descriptor,
    &wire__submit__descriptor,
    &wire__put__descriptor,
    &wire__get__descriptor,
    &wire__values__descriptor,
    &wire__ids__descriptor,
    &wire__cancel__descriptor,
    &wire__cancelled__descriptor,
    &wire__run_class__descriptor,
    &wire__run__descriptor,
    &wire__result__descriptor,
    &wire__query__descriptor,
    &wire__reply__descriptor,
    &wire__nothing__descriptor,
    &wire__join__descriptor,
    &wire__joined__descriptor,
    &wire__reach__descriptor,
    &wire__join_refused__descriptor,
    &wire__renew__descriptor,
    &wire__renewed__descriptor,
    &wire__job_new__descriptor,
    &wire__job_added__descriptor,
    &wire__job_end__descriptor,
    &wire__job_ended__descriptor,
    &wire__feasible__descriptor,
    &wire__view__descriptor,
    &wire__cluster_nothing__descriptor,
    &wire__history__descriptor,
    &wire__feasible_answer__descriptor,
    &wire__log__descriptor,
    &wire__logs__descriptor,
    &wire__peer_job__descriptor,
    &wire__peer_job_end__descriptor,
    &wire__peer_class__descriptor,
    &wire__peer_class_end__descriptor,
    &wire__peer_ask__descriptor,
    &wire__peer_slots__descriptor,
    &wire__peer_run__descriptor,
    &wire__peer_stop__descriptor,
    &wire__peer_runs__descriptor,
    &wire__peer_back__descriptor,
    &wire__peer_result__descriptor,
    &wire__peer_job_broken__descriptor,
    &wire__peer_log__descriptor,
    &wire__peer_logs__descriptor,
    &wire__peer_program_get__descriptor,
    &wire__peer_program_part__descriptor,
    &wire__peer_add__descriptor,
    &wire__peer_ids__descriptor,
    &wire__peer_added__descriptor,
    &wire__peer_value__descriptor,
    &wire__peer_cancel__descriptor,
    &wire__peer_job_ask__descriptor,
    &wire__peer_lift__descriptor,
    &wire__peer_look__descriptor,
    &wire__peer_seen__descriptor,
};

const ProtobufCMessageDescriptor *descriptor_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(descriptors); i++) {
        if (strcmp(descriptors[i]->short_name, name) == 0) {
            return descriptors[i];
        }
    }
    return NULL;
}

bool reference_accepts(const char *message, struct bytes meta)
{
    const ProtobufCMessageDescriptor *descriptor = descriptor_of(message);
    ProtobufCMessage *m = protobuf_c_message_unpack(descriptor, NULL, meta.size, meta.data);
    bool good = m != NULL && m->n_unknown_fields == 0;
    if (m != NULL) {
        protobuf_c_message_free_unpacked(m, NULL);
    }
    return good;
}
