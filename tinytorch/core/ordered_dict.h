// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tinytorch/core/error.h"

namespace tinytorch {

// A dictionary that iterates in the order of insertion. Finding is O(1), erasing O(size).
// A reference or iterator into it is good until the next insertion. Source:
// torch/csrc/api/include/torch/ordered_dict.h.
template <class Key, class Value>
class OrderedDict {
 public:
  class Item {
   public:
    Item(Key key, Value value) : pair_(std::move(key), std::move(value)) {}
    Value& operator*() { return value(); }
    const Value& operator*() const { return value(); }
    Value* operator->() { return &value(); }
    const Value* operator->() const { return &value(); }
    const Key& key() const noexcept { return pair_.first; }
    Value& value() noexcept { return pair_.second; }
    const Value& value() const noexcept { return pair_.second; }
    const std::pair<Key, Value>& pair() const noexcept { return pair_; }

   private:
    std::pair<Key, Value> pair_;
  };
  using Iterator = typename std::vector<Item>::iterator;
  using ConstIterator = typename std::vector<Item>::const_iterator;

  // `key_description` names a key in errors: "Parameter 'weight' already defined".
  explicit OrderedDict(std::string key_description = "Key") : key_description_(std::move(key_description)) {}
  OrderedDict(std::initializer_list<Item> items) {
    for (const Item& item : items) insert(item.key(), item.value());
  }

  const std::string& key_description() const noexcept { return key_description_; }
  std::size_t size() const noexcept { return items_.size(); }
  bool is_empty() const noexcept { return items_.empty(); }

  Iterator begin() { return items_.begin(); }
  Iterator end() { return items_.end(); }
  ConstIterator begin() const { return items_.begin(); }
  ConstIterator end() const { return items_.end(); }
  Item& front() { return at_position(*this, 0); }
  const Item& front() const { return at_position(*this, 0); }
  Item& back() { return at_position(*this, items_.size() - 1); }
  const Item& back() const { return at_position(*this, items_.size() - 1); }
  Item& operator[](std::size_t position) { return at_position(*this, position); }
  const Item& operator[](std::size_t position) const { return at_position(*this, position); }

  Value* find(const Key& key) noexcept { return find_in(*this, key); }
  const Value* find(const Key& key) const noexcept { return find_in(*this, key); }
  bool contains(const Key& key) const noexcept { return index_.count(key) > 0; }
  // The value of an existing key: throws if there is none, unlike std::map.
  Value& operator[](const Key& key) { return at_key(*this, key); }
  const Value& operator[](const Key& key) const { return at_key(*this, key); }

  // Throws if the key exists.
  Value& insert(Key key, Value value) {
    TORCH_CHECK(!contains(key), key_description_, " '", key, "' already defined");
    index_.emplace(key, items_.size());
    items_.emplace_back(std::move(key), std::move(value));
    return items_.back().value();
  }
  void update(const OrderedDict& other) {
    for (const Item& item : other) insert(item.key(), item.value());
  }
  void erase(const Key& key);
  void clear() {
    index_.clear();
    items_.clear();
  }
  void reserve(std::size_t capacity) { items_.reserve(capacity); }

  const std::vector<Item>& items() const noexcept { return items_; }
  std::vector<Key> keys() const { return collect<Key>(&Item::key); }
  std::vector<Value> values() const {
    return collect<Value>([](const Item& item) { return item.value(); });
  }
  std::vector<std::pair<Key, Value>> pairs() const { return collect<std::pair<Key, Value>>(&Item::pair); }

 private:
  template <class T, class F>
  std::vector<T> collect(F part) const {
    std::vector<T> parts;
    for (const Item& item : items_) parts.push_back(std::invoke(part, item));
    return parts;
  }
  template <class Self>
  static auto& at_position(Self& self, std::size_t position) {
    TORCH_CHECK(position < self.size(), "Index ", position, " is out of bounds\n[OrderedDict] it has ",
                self.size(), " items");
    return self.items_[position];
  }
  template <class Self>
  static auto find_in(Self& self, const Key& key) -> decltype(&self.items_.front().value()) {
    const auto found = self.index_.find(key);
    return found == self.index_.end() ? nullptr : &self.items_[found->second].value();
  }
  template <class Self>
  static auto& at_key(Self& self, const Key& key) {
    auto* value = find_in(self, key);
    TORCH_CHECK(value != nullptr, self.key_description_, " '", key, "' is not defined");
    return *value;
  }

  std::unordered_map<Key, std::size_t> index_;
  std::vector<Item> items_;
  std::string key_description_ = "Key";
};

template <class Key, class Value>
void OrderedDict<Key, Value>::erase(const Key& key) {
  const auto found = index_.find(key);
  TORCH_CHECK(found != index_.end(), "Key '", key, "' doesn't exist");
  const std::size_t position = found->second;
  index_.erase(found);
  items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(position));
  for (auto& [name, place] : index_)
    if (place > position) --place;
}

}  // namespace tinytorch
