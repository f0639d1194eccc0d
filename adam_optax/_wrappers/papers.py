"""The papers: which belong to what, and their BibTeX."""

OF = {
    "adabelief": ("zhuang2020adabelief",),
    "adabound": ("luo2019adaptive",),
    "adadelta": ("zeiler2012adadelta",),
    "adafactor": ("shazeer2018adafactor",),
    "adagrad": ("duchi2011adaptive",),
    "adam": ("kingma2015adam",),
    "adamax": ("kingma2015adam",),
    "adan": ("xie2024adan",),
    "ademamix": ("pagliardini2025ademamix",),
    "adopt": ("taniguchi2024adopt",),
    "amsgrad": ("reddi2018convergence",),
    "clip_by_global_norm": ("pascanu2013difficulty",),
    "constant_adam": ("kingma2015adam",),
    "fading_adam": ("kingma2015adam",),
    "kahan": ("kahan1965further", "zamirai2020revisiting"),
    "lamb": ("you2020large",),
    "laprop": ("ziyin2020laprop",),
    "lion": ("chen2023symbolic",),
    "momentum": ("polyak1964methods",),
    "novograd": ("ginsburg2019stochastic",),
    "radam": ("liu2020variance",),
    "rmsprop": ("tieleman2012lecture",),
    "scheduled_nadam": ("kingma2015adam", "dozat2016incorporating"),
    "simplified_ademamix": ("morwani2025connections",),
    "split_master": ("micikevicius2018mixed",),
    "stable_adam": ("wortsman2023stable",),
    "stochastic_rounding": ("zamirai2020revisiting",),
    "temporal_average": ("kingma2015adam",),
    "yogi": ("zaheer2018adaptive",),
}
"""The keys of a rule's or a transformation's papers."""

OPTIONS = {"nesterov": "dozat2016incorporating", "centered": "graves2013generating"}
"""The keys of what options add."""

_CONFERENCES = {
    "ICLR": "International Conference on Learning Representations",
    "ICML": "International Conference on Machine Learning",
    "NeurIPS": "Advances in Neural Information Processing Systems",
}

_PAPERS = """
chen2023symbolic | Chen, Xiangning and others | Symbolic Discovery of Optimization Algorithms | NeurIPS | 2023
chen2025cautious | Chen, Lizhang and others | Cautious Weight Decay | arXiv:2510.12402 | 2025
defazio2025gradients | Defazio, Aaron | Why Gradients Rapidly Increase Near the End of Training | arXiv:2506.02285 | 2025
dozat2016incorporating | Dozat, Timothy | Incorporating Nesterov Momentum into Adam | ICLR | 2016
duchi2011adaptive | Duchi, John and Hazan, Elad and Singer, Yoram | Adaptive Subgradient Methods for Online Learning and Stochastic Optimization | Journal of Machine Learning Research | 2011
ginsburg2019stochastic | Ginsburg, Boris and others | Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep Networks | arXiv:1905.11286 | 2019
graves2013generating | Graves, Alex | Generating Sequences With Recurrent Neural Networks | arXiv:1308.0850 | 2013
kahan1965further | Kahan, William | Further Remarks on Reducing Truncation Errors | Communications of the ACM | 1965
kingma2015adam | Kingma, Diederik P. and Ba, Jimmy | Adam: A Method for Stochastic Optimization | ICLR | 2015
liu2020variance | Liu, Liyuan and others | On the Variance of the Adaptive Learning Rate and Beyond | ICLR | 2020
loshchilov2019decoupled | Loshchilov, Ilya and Hutter, Frank | Decoupled Weight Decay Regularization | ICLR | 2019
luo2019adaptive | Luo, Liangchen and Xiong, Yuanhao and Liu, Yan and Sun, Xu | Adaptive Gradient Methods with Dynamic Bound of Learning Rate | ICLR | 2019
micikevicius2018mixed | Micikevicius, Paulius and others | Mixed Precision Training | ICLR | 2018
morwani2025connections | Morwani, Depen and others | Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD Variants | arXiv:2502.02431 | 2025
pagliardini2025ademamix | Pagliardini, Matteo and Ablin, Pierre and Grangier, David | The AdEMAMix Optimizer: Better, Faster, Older | ICLR | 2025
pascanu2013difficulty | Pascanu, Razvan and Mikolov, Tomas and Bengio, Yoshua | On the Difficulty of Training Recurrent Neural Networks | ICML | 2013
polyak1964methods | Polyak, Boris T. | Some Methods of Speeding up the Convergence of Iteration Methods | USSR Computational Mathematics and Mathematical Physics | 1964
reddi2018convergence | Reddi, Sashank J. and Kale, Satyen and Kumar, Sanjiv | On the Convergence of Adam and Beyond | ICLR | 2018
shazeer2018adafactor | Shazeer, Noam and Stern, Mitchell | Adafactor: Adaptive Learning Rates with Sublinear Memory Cost | ICML | 2018
taniguchi2024adopt | Taniguchi, Shohei and others | ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate | NeurIPS | 2024
tieleman2012lecture | Tieleman, Tijmen and Hinton, Geoffrey | Lecture 6.5: RMSProp | COURSERA: Neural Networks for Machine Learning | 2012
wortsman2023stable | Wortsman, Mitchell and others | Stable and Low-Precision Training for Large-Scale Vision-Language Models | NeurIPS | 2023
xie2024adan | Xie, Xingyu and Zhou, Pan and Li, Huan and Lin, Zhouchen and Yan, Shuicheng | Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models | IEEE Transactions on Pattern Analysis and Machine Intelligence | 2024
you2020large | You, Yang and others | Large Batch Optimization for Deep Learning: Training BERT in 76 Minutes | ICLR | 2020
zaheer2018adaptive | Zaheer, Manzil and Reddi, Sashank J. and Sachan, Devendra and Kale, Satyen and Kumar, Sanjiv | Adaptive Methods for Nonconvex Optimization | NeurIPS | 2018
zamirai2020revisiting | Zamirai, Pedram and Zhang, Jian and Aberger, Christopher R. and De Sa, Christopher | Revisiting BFloat16 Training | arXiv:2010.06192 | 2020
zeiler2012adadelta | Zeiler, Matthew D. | ADADELTA: An Adaptive Learning Rate Method | arXiv:1212.5701 | 2012
zhuang2020adabelief | Zhuang, Juntang and others | AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients | NeurIPS | 2020
ziyin2020laprop | Ziyin, Liu and Wang, Zhikang T. and Ueda, Masahito | LaProp: Separating Momentum and Adaptivity in Adam | arXiv:2002.04839 | 2020
"""  # noqa: E501

_BY_KEY = {line.split(" | ")[0]: line.split(" | ")[1:] for line in _PAPERS.strip().splitlines()}


def bibtex(key: str) -> str:
    """The entry of a key; a comment stays one."""
    if key.startswith("%"):
        return key
    author, title, venue, year = _BY_KEY[key]
    kind, where = (
        ("inproceedings", "booktitle") if venue in _CONFERENCES else ("article", "journal")
    )
    fields = {
        "author": author,
        "title": f"{{{title}}}",
        where: _CONFERENCES.get(venue, venue),
        "year": year,
    }
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items()]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"
