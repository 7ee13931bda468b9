// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tinytorch/core/error.h"

namespace tinytorch {

// A dictionary that iterates in the order of insertion. Copies share their entries. Finding is O(1). A reference into it is good until the next insertion.
// Source: aten/src/ATen/core/Dict.h.
template <class Key, class Value>
class Dict {
 public:
  class Entry {
   public:
    Entry(Key key, Value value) : key_(std::move(key)), value_(std::move(value)) {}
    const Key& key() const { return key_; }
    const Value& value() const { return value_; }
    void setValue(Value value) { value_ = std::move(value); }

   private:
    Key key_;
    Value value_;
  };

  Dict() : entries_(std::make_shared<Entries>()) {}
  std::size_t size() const { return entries_->list.size(); }
  bool empty() const { return size() == 0; }
  auto begin() const { return entries_->list.cbegin(); }
  auto end() const { return entries_->list.cend(); }

  bool contains(const Key& key) const { return entries_->positions.contains(key); }
  const Value& at(const Key& key) const {
    const auto found = entries_->positions.find(key);
    if (found == entries_->positions.end()) throw IndexError("Argument passed to at() was not in the map.\n[Dict] ask contains() first.");
    return entries_->list[found->second].value();
  }
  // Adds an entry, unless the key is there; says whether it did.
  bool insert(Key key, Value value) const {
    if (!entries_->positions.emplace(key, size()).second) return false;
    entries_->list.emplace_back(std::move(key), std::move(value));
    return true;
  }
  void insert_or_assign(Key key, Value value) const {
    const auto found = entries_->positions.find(key);
    if (found == entries_->positions.end()) {
      insert(std::move(key), std::move(value));
    } else {
      entries_->list[found->second].setValue(std::move(value));
    }
  }
  void clear() const {
    entries_->list.clear();
    entries_->positions.clear();
  }
  const void* id() const { return entries_.get(); }

 private:
  struct Hash {
    std::size_t operator()(const Key& key) const {
      if constexpr (requires { key.hash(); }) return key.hash();
      else return std::hash<Key>{}(key);
    }
  };
  struct Entries {
    std::vector<Entry> list;
    std::unordered_map<Key, std::size_t, Hash> positions;
  };
  std::shared_ptr<Entries> entries_;
};

// A list whose copies share their elements. Source: aten/src/ATen/core/List.h.
template <class T>
class List {
 public:
  List() : elements_(std::make_shared<std::vector<T>>()) {}
  explicit List(std::vector<T> elements) : elements_(std::make_shared<std::vector<T>>(std::move(elements))) {}
  std::size_t size() const { return elements_->size(); }
  bool empty() const { return elements_->empty(); }
  auto begin() const { return elements_->cbegin(); }
  auto end() const { return elements_->cend(); }
  const T& get(std::size_t position) const {
    TORCH_CHECK_INDEX(position < size(), "list index out of range\n[List] it has ", size(), " elements, position ", position, " was asked for.");
    return (*elements_)[position];
  }
  const T& operator[](std::size_t position) const { return get(position); }
  void push_back(T value) const { elements_->push_back(std::move(value)); }
  void clear() const { elements_->clear(); }
  const std::vector<T>& vec() const { return *elements_; }
  const void* id() const { return elements_.get(); }

 private:
  std::shared_ptr<std::vector<T>> elements_;
};

}  // namespace tinytorch
