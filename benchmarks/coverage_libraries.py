"""A second zoo for `coverage.py`: a network of each family of timm, transformers and torchvision, small where possible.

    python benchmarks/coverage.py --zoo benchmarks/coverage_libraries.py --path FOLDER-of-packages

timm and torchvision import beside a CPU torch where torchvision's own operators are declared or there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

Shape = tuple[int, ...] | tuple[str, ...]
Builder = Callable[[], nn.Module]

Z: dict[str, tuple[Builder, Shape, str]] = {}
"""Name -> what builds the module, the shape of one input or the inputs, and a category."""


def timm(name: str, side: int, **options: Any) -> None:
    """Adds a network of timm for square pictures."""

    def build() -> nn.Module:
        from timm import create_model

        made: nn.Module = create_model(name, pretrained=False, num_classes=10, **options)
        return made

    Z[f"timm:{name}"] = (build, (3, side, side), "timm")


_AT_224: dict[str, dict[str, Any]] = {
    "beit_base_patch16_224": {"depth": 2}, "cait_xxs24_224": {"depth": 2}, "convit_tiny": {"depth": 3},
    "crossvit_9_240": {}, "coatnet_nano_rw_224": {}, "maxvit_tiny_rw_224": {}, "davit_tiny": {},
    "efficientformerv2_s0": {}, "efficientvit_m0": {}, "eva02_tiny_patch14_224": {"depth": 3},
    "focalnet_tiny_srf": {}, "gcvit_xxtiny": {}, "hiera_tiny_224": {}, "gmlp_s16_224": {},
    "gmixer_24_224": {}, "mvitv2_tiny": {}, "nest_tiny": {}, "nextvit_small": {}, "pit_ti_224": {},
    "pvt_v2_b0": {}, "sequencer2d_s": {}, "swiftformer_xs": {}, "swinv2_cr_tiny_ns_224": {}, "coat_lite_tiny": {},
    "twins_pcpvt_small": {}, "twins_svt_small": {}, "visformer_tiny": {}, "vit_tiny_r_s16_p8_224": {"depth": 3},
    "vit_relpos_small_patch16_224": {"depth": 3}, "vitamin_small_224": {}, "volo_d1_224": {}, "efficientvim_m1": {},
    "xcit_nano_12_p16_224": {}, "deit3_small_patch16_224": {"depth": 3}, "convmixer_768_32": {"depth": 4},
    "tnt_s_legacy_patch16_224": {"depth": 3}, "samvit_base_patch16_224": {"depth": 3}, "shvit_s1": {},
    "vit_base_patch16_siglip_gap_224": {"depth": 2}, "vit_small_patch14_reg4_dinov2": {"depth": 2, "img_size": 224},
    "mobilevitv2_075": {}, "lambda_resnet26rpt_256": {},
}  # fmt: skip
"""Networks with positions, or windows, of their own size -> what makes them small."""

_AT_256 = ("swinv2_tiny_window8_256", "halonet26t", "botnet26t_256", "lambda_resnet26t")

_AT_96 = (
    "gernet_s", "dpn48b", "fasternet_t0", "hgnetv2_b0", "inception_resnet_v2", "mambaout_femto", "poolformerv2_s12",
    "caformer_s18", "convformer_s18", "mobilenetv5_base", "nasnetalarge", "pnasnet5large", "dm_nfnet_f0",
    "eca_nfnet_l0", "rdnet_tiny", "repvit_m0_9", "resnest14d", "resnetv2_50", "selecsls42b", "legacy_seresnet18",
    "skresnet18", "tresnet_m", "vgg11_bn", "xception41", "legacy_xception", "mixnet_s", "mobileone_s4", "cspnext_tiny",
    "darknetaa53", "densenet121", "ese_vovnet39b", "lcnetv2_base", "hardcorenas_f", "regnetz_005", "resnetaa50d",
    "resnetrs50", "seresnext26t_32x4d", "spnasnet_100", "tf_efficientnetv2_b0", "tinynet_a", "wide_resnet50_2",
    "efficientvit_l1", "convnext_zepto_rms", "test_vit", "test_byobnet", "mobilenet_edgetpu_v2_xs", "lowformer_b0",
    "iformer_t", "cpubone_b0",
)  # fmt: skip
"""Networks that take pictures of any size."""

for _name, _options in _AT_224.items():
    timm(_name, 240 if "240" in _name else 256 if "256" in _name else 224, **_options)
for _name in _AT_256:
    timm(_name, 256)
for _name in _AT_96:
    timm(_name, 160 if _name == "test_vit" else 96)


def transformers(name: str, kind: str, config: str, shape: Shape, **options: Any) -> None:
    """Adds a network of transformers, built from a configuration."""

    def build() -> nn.Module:
        import transformers as library

        made: nn.Module = getattr(library, kind)(getattr(library, config)(**options))
        return made

    Z[f"hf:{name}"] = (build, shape, "hf")


_TEXT = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_BERT = _TEXT | {"intermediate_size": 64, "max_position_embeddings": 64}
_IDS, _MASKED = ("input_ids=16:int",), ("input_ids=16:int", "attention_mask=16:int")
_PICTURE = {"image_size": 64, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}

for _family in ("Bert", "Roberta", "Albert", "Electra", "MPNet", "Ernie", "MegatronBert", "RoFormer", "XLMRoberta"):
    _more = {"embedding_size": 16} if _family in ("Albert", "Electra", "RoFormer") else {}
    for _suffix, _shape in (("", (16,)), (" masked", _MASKED)):
        _kind, _config = f"{_family}ForSequenceClassification", f"{_family}Config"
        transformers(_family.lower() + _suffix, _kind, _config, _shape, **_BERT, **_more)
transformers(
    "distilbert masked", "DistilBertForSequenceClassification", "DistilBertConfig", _MASKED,
    vocab_size=200, dim=32, n_layers=2, n_heads=4, hidden_dim=64,
)  # fmt: skip
transformers(
    "bert three inputs", "BertForSequenceClassification", "BertConfig", (*_MASKED, "token_type_ids=16:int"), **_BERT
)
transformers("bert tokens masked", "BertForTokenClassification", "BertConfig", _MASKED, **_BERT)
transformers("bert questions", "BertForQuestionAnswering", "BertConfig", _MASKED, **_BERT)
transformers("bert encoder", "BertModel", "BertConfig", _MASKED, **_BERT)
transformers(
    "mobilebert masked", "MobileBertForSequenceClassification", "MobileBertConfig", _MASKED,
    **_TEXT, intermediate_size=64, embedding_size=16, intra_bottleneck_size=16,
)  # fmt: skip
transformers("squeezebert", "SqueezeBertForSequenceClassification", "SqueezeBertConfig", (16,), **_BERT,
             embedding_size=32)  # fmt: skip
transformers("deberta", "DebertaV2ForSequenceClassification", "DebertaV2Config", (16,), **_BERT)
transformers("convbert", "ConvBertForSequenceClassification", "ConvBertConfig", (16,), **_BERT, embedding_size=32)
transformers("fnet", "FNetForSequenceClassification", "FNetConfig", (16,), **_TEXT, intermediate_size=64,
             max_position_embeddings=64)  # fmt: skip
transformers("modernbert masked", "ModernBertForSequenceClassification", "ModernBertConfig", _MASKED, **_BERT,
             pad_token_id=0, cls_token_id=1, eos_token_id=2, bos_token_id=1, sep_token_id=2)  # fmt: skip
transformers(
    "gpt2 classifier", "GPT2ForSequenceClassification", "GPT2Config", (16,),
    vocab_size=200, n_positions=32, n_embd=32, n_layer=2, n_head=4, pad_token_id=0,
)  # fmt: skip
transformers(
    "gpt2 language model", "GPT2LMHeadModel", "GPT2Config", (16,),
    vocab_size=200, n_positions=32, n_embd=32, n_layer=2, n_head=4,
)  # fmt: skip
transformers("llama", "LlamaForCausalLM", "LlamaConfig", (16,), **_BERT, num_key_value_heads=2)
transformers("qwen2 masked", "Qwen2ForCausalLM", "Qwen2Config", _MASKED, **_BERT, num_key_value_heads=2)
transformers("opt", "OPTForCausalLM", "OPTConfig", (16,), **_TEXT, ffn_dim=64, max_position_embeddings=64,
             word_embed_proj_dim=32)  # fmt: skip
transformers("mamba", "MambaForCausalLM", "MambaConfig", (16,), vocab_size=200, hidden_size=32, num_hidden_layers=2,
             state_size=8)  # fmt: skip
transformers("t5 encoder", "T5EncoderModel", "T5Config", _MASKED, vocab_size=200, d_model=32, d_kv=8, d_ff=64,
             num_layers=2, num_heads=4)  # fmt: skip
transformers("vit", "ViTForImageClassification", "ViTConfig", (3, 64, 64), **_PICTURE, intermediate_size=64)
transformers("deit", "DeiTForImageClassification", "DeiTConfig", (3, 64, 64), **_PICTURE, intermediate_size=64)
transformers("dinov2", "Dinov2ForImageClassification", "Dinov2Config", (3, 64, 64), **_PICTURE, mlp_ratio=2)
transformers("beit", "BeitForImageClassification", "BeitConfig", (3, 64, 64), **_PICTURE, intermediate_size=64)
transformers("clip vision", "CLIPVisionModelWithProjection", "CLIPVisionConfig", (3, 64, 64), **_PICTURE,
             intermediate_size=64, projection_dim=16)  # fmt: skip
transformers("siglip vision", "SiglipVisionModel", "SiglipVisionConfig", (3, 64, 64), **_PICTURE, intermediate_size=64)
transformers("swin", "SwinForImageClassification", "SwinConfig", (3, 64, 64), image_size=64, patch_size=4, embed_dim=16,
             depths=[1, 1], num_heads=[2, 4], window_size=4)  # fmt: skip
transformers("segformer", "SegformerForSemanticSegmentation", "SegformerConfig", (3, 64, 64), depths=[1, 1, 1, 1],
             hidden_sizes=[16, 16, 32, 32], decoder_hidden_size=32)  # fmt: skip
transformers("mobilevit", "MobileViTForImageClassification", "MobileViTConfig", (3, 64, 64), image_size=64,
             hidden_sizes=[32, 48, 64], neck_hidden_sizes=[8, 16, 24, 32, 48, 64, 96])  # fmt: skip
transformers("resnet", "ResNetForImageClassification", "ResNetConfig", (3, 64, 64), embedding_size=16,
             hidden_sizes=[16, 32], depths=[1, 1])  # fmt: skip
transformers("convnextv2", "ConvNextV2ForImageClassification", "ConvNextV2Config", (3, 64, 64),
             hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1])  # fmt: skip
transformers("levit", "LevitForImageClassification", "LevitConfig", (3, 64, 64), image_size=64,
             hidden_sizes=[32, 48, 64], num_attention_heads=[2, 3, 4], depths=[1, 1, 1], key_dim=[8, 8, 8])  # fmt: skip
transformers(
    "wav2vec2", "Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", (4000,), hidden_size=32, num_hidden_layers=2,
    num_attention_heads=4, intermediate_size=64, conv_dim=[16] * 7, classifier_proj_size=16,
    num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
)  # fmt: skip
transformers("hubert", "HubertForCTC", "HubertConfig", (4000,), hidden_size=32, num_hidden_layers=2,
             num_attention_heads=4, intermediate_size=64, conv_dim=[16] * 7, num_conv_pos_embeddings=16,
             num_conv_pos_embedding_groups=4)  # fmt: skip
transformers("whisper classifier", "WhisperForAudioClassification", "WhisperConfig", (80, 60), d_model=32,
             encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, max_source_positions=30,
             classifier_proj_size=16)  # fmt: skip
transformers("audio spectrogram", "ASTForAudioClassification", "ASTConfig", (64, 32), hidden_size=32,
             num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_length=64, num_mel_bins=32,
             patch_size=8, frequency_stride=8, time_stride=8)  # fmt: skip
transformers("patchtst", "PatchTSTForPrediction", "PatchTSTConfig", (64, 3), num_input_channels=3, context_length=64,
             patch_length=8, patch_stride=8, prediction_length=8, d_model=32, num_hidden_layers=2,
             num_attention_heads=4, ffn_dim=64)  # fmt: skip
transformers("patchtsmixer", "PatchTSMixerForPrediction", "PatchTSMixerConfig", (64, 3), num_input_channels=3,
             context_length=64, patch_length=8, patch_stride=8, prediction_length=8, d_model=16,
             num_layers=2)  # fmt: skip


def torchvision(name: str, side: int, **options: Any) -> None:
    """Adds a segmentation network of torchvision."""

    def build() -> nn.Module:
        from torchvision import models

        made: nn.Module = models.get_model(name, weights=None, weights_backbone=None, **options)
        return made

    Z[f"tv:{name}"] = (build, (3, side, side), "torchvision")


torchvision("deeplabv3_mobilenet_v3_large", 96, num_classes=5)
torchvision("fcn_resnet50", 96, num_classes=5, aux_loss=True)
torchvision("deeplabv3_resnet50", 96, num_classes=5, aux_loss=True)


def _pyramid() -> nn.Module:
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    made: nn.Module = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    return made


Z["tv:resnet18 with a feature pyramid"] = (_pyramid, (3, 96, 96), "torchvision")
