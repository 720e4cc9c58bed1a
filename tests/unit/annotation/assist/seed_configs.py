"""The labelling configs that the documents before this project printed, and one of ours."""

ALIASES = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="brush" toName="image">
    <Label value="1" hint="brush" background="blue" alias="1_brush"/>
    <Label value="2" hint="brush" background="purple" alias="2_brush"/>
  </BrushLabels>
  <KeypointLabels name="tag2" toName="image">
    <Label value="(+1)" hint="keypoint" background="blue" alias="1"/>
    <Label value="(-1)" hint="keypoint" background="red" alias="-1"/>
    <Label value="(+2)" hint="keypoint" background="purple" alias="2"/>
    <Label value="(-2)" hint="keypoint" background="red" alias="-2"/>
  </KeypointLabels>
  <RectangleLabels name="tag4" toName="image">
    <Label value="[1]" hint="rectangle" background="blue" alias="1"/>
    <Label value="[2]" hint="rectangle" background="purple" alias="2"/>
  </RectangleLabels>
</View>"""

VALUES = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="tag" toName="image">
    <Label value="Banana" background="#FF0000"/>
    <Label value="Orange" background="#0d14d3"/>
  </BrushLabels>
  <KeyPointLabels name="tag2" toName="image">
    <Label value="Banana" smart="true" background="#000000" showInline="true"/>
    <Label value="Orange" smart="true" background="#000000" showInline="true"/>
  </KeyPointLabels>
  <RectangleLabels name="tag3" toName="image">
    <Label value="Banana" smart="true" background="#000000" showInline="true"/>
    <Label value="Orange" smart= "true" background="#000000" showInline="true"/>
  </RectangleLabels>
</View>"""

CATS = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <KeyPointLabels name="KeyPointLabels" toName="image">
    <Label value="cat" smart="true" background="#e51515" showInline="true"/>
    <Label value="person" smart="true" background="#412cdd" showInline="true"/>
  </KeyPointLabels>
  <RectangleLabels name="RectangleLabels" toName="image">
    <Label value="cat" background="#FF0000"/>
    <Label value="person" background="#0d14d3"/>
  </RectangleLabels>
  <PolygonLabels name="PolygonLabels" toName="image">
    <Label value="cat" background="#FF0000"/>
    <Label value="person" background="#0d14d3"/>
  </PolygonLabels>
  <BrushLabels name="BrushLabels" toName="image">
    <Label value="cat" background="#FF0000"/>
    <Label value="person" background="#0d14d3"/>
  </BrushLabels>
</View>"""

NO_POINT_LABELS = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <KeyPointLabels name="KeyPointLabels" toName="image">
  </KeyPointLabels>
  <RectangleLabels name="RectangleLabels" toName="image">
    <Label value="label 1" background="#8BACAA"/>
  </RectangleLabels>
  <PolygonLabels name="PolygonLabels" toName="image" opacity="0.9">
    <Label value="label 1" background="#8BACAA"/>  </PolygonLabels>
  <BrushLabels name="BrushLabels" toName="image">
    <Label value="label 1" background="#8BACAA"/>
  </BrushLabels>
</View>"""

WORDS = """<View>
  <Image name="image" value="$image"/>
  <Style>
    .lsf-main-content.lsf-requesting
    .prompt::before { content: ' loading...'; color: #808080; }
  </Style>
  <View className="prompt">
    <TextArea name="prompt" toName="image"
              editable="true" rows="2"
              maxSubmissions="1" showSubmitButton="true"/>
  </View>
  <Header>Rectangle Labels</Header>
  <RectangleLabels name="label" toName="image">
    <Label value="Bok Choi" background="orange"/>
    <Label value="Pot" background="purple"/>
  </RectangleLabels>
  <Header>Brush Labels</Header>
  <BrushLabels name="label2" toName="image">
    <Label value="Bok Choi" background="orange"/>
    <Label value="Pot" background="purple"/>
  </BrushLabels>
</View>"""

POLYGONS_ALONE = """<View>
  <Header value="Select label and click the image to start"/>
  <Image name="image" value="$image" zoom="true" zoomControl="true" rotateControl="false"/>
  <PolygonLabels name="labels" toName="image" Opacity="0.5" strokeWidth="3">
    <Label value="road" background="#ADC6FF"/>
    <Label value="sidewalk" background="#9254DE"/>
    <Label value="bicycle" background="#D3F261"/>
  </PolygonLabels>
</View>"""

OURS = """<View>
  <Image name="picture" value="$shot" zoom="true"/>
  <PolygonLabels name="poly" toName="picture" smart="false">
    <Label value="car"/><Label value="road"/>
  </PolygonLabels>
  <BrushLabels name="brush" toName="picture" smart="false">
    <Label value="car"/><Label value="road"/>
  </BrushLabels>
  <KeyPointLabels name="kp" toName="picture" smart="true" smartOnly="true">
    <Label value="car"/><Label value="road"/>
  </KeyPointLabels>
  <RectangleLabels name="rect" toName="picture" smart="true" smartOnly="true">
    <Label value="car"/><Label value="road"/>
  </RectangleLabels>
  <TextArea name="words" toName="picture"/>
  <Number name="box_threshold" toName="picture" defaultValue="0.3"/>
  <Number name="text_threshold" toName="picture"/>
</View>"""


def config(*tags: str) -> str:
    """A config with a picture and these tags."""
    return f'<View><Image name="image" value="$image"/>{"".join(tags)}</View>'


def tool(tag: str, *labels: str, attributes: str = "") -> str:
    """A tag named as its kind; a label is a value, or `value=alias`."""
    inside = ""
    for label in labels:
        value, _, alias = label.partition("=")
        inside += f'<Label value="{value}"' + (f' alias="{alias}"/>' if alias else "/>")
    return f'<{tag} name="{tag.lower()}" toName="image" {attributes}>{inside}</{tag}>'
