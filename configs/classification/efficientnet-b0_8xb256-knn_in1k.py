_base_ = ['../_base_/classification/knn.py', '../_base_/students/efficientnet-b0.py']

model = dict(backbone=dict(**_base_.student))
