"""The evaluation of recommendations that another program made, by this project's protocol, and without training.

``python -m adamct.evaluate FILE dataset=beauty`` ranks each user's test item by the list of that user in a file. It
writes a run folder, which ``python -m adamct.report`` compares with other runs. A list must have been made from the
items before the test item.

**Lists.** A score orders a list if the file has scores, else a rank or the place in the list does. A score of minus
infinity takes an item out of the list. Items that the prepared log does not have are taken out, and so are repetitions
of an item, whose best place stays. All of them are counted. A score that is missing or NaN is an error.

**Ranks.** The rank of a test item is 1 + the listed items with a higher score + the other listed items with the same
score. A list has the best items only, so an item that it lacks has an unknown rank beyond the end of the list. It is
recorded as the number of all items. A metric at k is known, and given, if the list of each user has the test item or at
least k items; MRR is known if each list has the test item. A user without a list is a miss at every k.

**Rankings.**

- ``full`` ranks among all items. If no list has an item that its user has had above one that the user has not had, the
  lists were made without seen items, and ``full`` is unknown. The user's latest item does not count here, because some
  programs leave out the training items only.
- ``full_unseen`` takes the seen items out of the lists first.
- ``uni100`` needs a score of the test item and of each of its sampled candidates, for each user with a list.

Lists that all have their test item but lack other items are scores of sampled candidates. Such lists give neither
``full`` nor ``full_unseen``.
"""
