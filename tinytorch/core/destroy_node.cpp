// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/node.h"

namespace tinytorch {

namespace {
// Nodes waiting for their end in this thread, linked through the nodes themselves so that it needs no memory of its own.
thread_local constinit Node* waiting_for_deletion = nullptr;
thread_local constinit bool deleting = false;
}  // namespace

void destroy_node(Node* node) {
  if (deleting) {  // the loop further up the stack takes it
    node->next_to_delete_ = waiting_for_deletion;
    waiting_for_deletion = node;
    return;
  }
  deleting = true;
  node->~Node();
  while (waiting_for_deletion != nullptr) {
    Node* const first = waiting_for_deletion;
    waiting_for_deletion = first->next_to_delete_;
    const std::weak_ptr<Node> keeps_memory = first->weak_from_this();  // the counts lie in the same block: it must outlast the destructor
    first->~Node();
  }
  deleting = false;
}

}  // namespace tinytorch
